"""Noise spectra before the first iteration: masked power of the images less that of their average."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from blush.errors import BlushError
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import MASK_EDGE_PX, mask_images
from blush.fourier.grid import shell_index_2d
from blush.fourier.mask import soft_circle
from blush.fourier.packed import packed, shell_sums
from blush.io.particles import ParticleSet

PARTICLES_PER_GROUP = 1000
BLOCK = 256
ROUNDING = 1e-6
"""Of a power spectrum in float32; a smaller difference of two is none."""

Reader = Callable[[ParticleSet], Tensor]


def as_stored(particles: ParticleSet) -> Tensor:
    """(n, N, N) images as they are in their stacks."""
    return torch.from_numpy(particles.images())


def initial_noise(
    particles: ParticleSet, particle_diameter_angst: float, seed: int, images: Reader = as_stored
) -> Tensor:
    """sigma^2 per component of each optics group (docs/algorithm.md, section 2): (o, N/2 + 1) float64.

    The mean masked power per shell of up to 1000 random particles of the group, halved, minus half the power of the
    average image. The average is over all groups: that of a group of one particle would be the particle itself, and
    leave no noise. A shell that comes out negative takes its lower neighbour's value; a group without particles has 1.

    Parameters
    ----------
    images
        Gives (n, N, N) images of particles, whose noise is wanted.

    Raises
    ------
    BlushError
        If the images of a group leave no noise at all.
    """
    box = particles.optics[0].box_px
    mask = soft_circle(box, particle_diameter_angst / (2 * particles.optics[0].pixel_size_angst), MASK_EDGE_PX)
    optics = torch.from_numpy(particles.optics_index)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(particles), generator=generator)
    total, count, powers = torch.zeros(box, box, dtype=torch.float64), 0, []
    for group in range(len(particles.optics)):
        chosen = order[optics[order] == group][:PARTICLES_PER_GROUP].sort().values
        power, summed = _power_and_sum(particles.take(chosen.numpy()), mask, box, images)
        powers.append(power / len(chosen) if len(chosen) else None)
        total += summed
        count += len(chosen)
    mean = torch.fft.rfft2(total / count).abs().square()
    ones = torch.ones(box // 2 + 1, dtype=torch.float64)
    noise = torch.stack(
        [
            ones if power is None else _spectrum(power, mean, group.name)
            for power, group in zip(powers, particles.optics, strict=True)
        ]
    )
    return noise * _detector_gain(particles, box)


def _detector_gain(particles: ParticleSet, box: int) -> Tensor:
    """Mean of 1 / MTF^2 per shell, (o, N/2 + 1): images are divided by the detector's response before they are used."""
    pixels = packed(box)
    correction = OpticsTables(particles, pixels, torch.float64).correction
    if correction is None:
        return torch.ones(len(particles.optics), box // 2 + 1, dtype=torch.float64)
    gain = shell_sums(correction.square().sum(1), pixels.shell, box // 2 + 1)
    return gain / shell_sums(torch.ones_like(correction[:1, 0]), pixels.shell, box // 2 + 1)


def _power_and_sum(particles: ParticleSet, mask: Tensor, box: int, read: Reader) -> tuple[Tensor, Tensor]:
    """Sum of the masked images' power (box, box // 2 + 1), and of the masked images, in float64."""
    power = torch.zeros(box, box // 2 + 1, dtype=torch.float64)
    total = torch.zeros(box, box, dtype=torch.float64)
    for begin in range(0, len(particles), BLOCK):
        rows = torch.arange(begin, min(begin + BLOCK, len(particles))).numpy()
        images = mask_images(read(particles.take(rows)), mask)
        power += torch.fft.rfft2(images).abs().double().square().sum(0)
        total += images.double().sum(0)
    return power, total


def _spectrum(power: Tensor, common: Tensor, name: str) -> Tensor:
    """Half the mean of the power over `common` in each shell, over N^4, with gaps filled: (N/2 + 1,)."""
    box = power.shape[0]
    shell = shell_index_2d(box).flatten()
    kept = shell <= box // 2
    count = torch.bincount(shell[kept], minlength=box // 2 + 1)

    def average(values: Tensor) -> Tensor:
        zeros = torch.zeros(box // 2 + 1, dtype=torch.float64)
        return zeros.index_add_(0, shell[kept], (values.flatten() / 2)[kept]) / count / box**4

    noise = average(power - common)
    measured = noise > ROUNDING * average(power)
    if not measured.any():
        raise BlushError(
            f"optics group {name}: its images leave no noise when the average of all images is subtracted; they are "
            "copies of one image, or on a smaller grey scale than the other groups: normalise or extract them again"
        )
    # Each shell takes its own value or that of the nearest measured one below; the first shells the first measured.
    shells = torch.arange(box // 2 + 1)
    first = int(measured.double().argmax())
    return noise[torch.where(measured, shells, 0).cummax(0).values.clamp_min(first)]
