"""Noise spectra before the first iteration: masked power of the images less that of their average."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.expectation.prepare import MASK_EDGE_PX, circle, mask_images
from blush.fourier.grid import shell_index_2d
from blush.io.particles import ParticleSet

PARTICLES_PER_GROUP = 1000
BLOCK = 256


def initial_noise(particles: ParticleSet, particle_diameter_angst: float, seed: int) -> Tensor:
    """sigma^2 per component of each optics group (refinement.md 2.6): (o, N/2 + 1) float64.

    The mean masked power per shell of up to 1000 random particles of the group, halved, minus half the power of their
    average image. A shell that comes out negative takes its lower neighbour's value.
    """
    box = particles.optics[0].box_px
    like = torch.zeros((), dtype=torch.float32)
    mask = circle(box, particle_diameter_angst / (2 * particles.optics[0].pixel_size_angst), MASK_EDGE_PX, like)
    optics = torch.from_numpy(particles.optics_index)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(particles), generator=generator)
    rows = []
    for group in range(len(particles.optics)):
        chosen = order[optics[order] == group][:PARTICLES_PER_GROUP].sort().values
        if len(chosen) == 0:
            rows.append(torch.ones(box // 2 + 1, dtype=torch.float64))
            continue
        rows.append(_group_noise(particles.take(chosen.numpy()), mask, box))
    return torch.stack(rows)


def _group_noise(particles: ParticleSet, mask: Tensor, box: int) -> Tensor:
    power = torch.zeros(box, box // 2 + 1, dtype=torch.float64)
    total = torch.zeros(box, box, dtype=torch.float64)
    for begin in range(0, len(particles), BLOCK):
        rows = torch.arange(begin, min(begin + BLOCK, len(particles))).numpy()
        images = mask_images(torch.from_numpy(particles.take(rows).images()), mask)
        power += torch.fft.rfft2(images).abs().double().square().sum(0)
        total += images.double().sum(0)
    mean = torch.fft.rfft2(total / len(particles)).abs().square()
    shell = shell_index_2d(box).flatten()
    kept = shell <= box // 2
    count = torch.bincount(shell[kept], minlength=box // 2 + 1)
    noise = torch.zeros(box // 2 + 1, dtype=torch.float64)
    noise.index_add_(0, shell[kept], ((power / len(particles) - mean).flatten() / 2)[kept])
    noise = noise / count / box**4
    for shell_number in range(len(noise)):
        if noise[shell_number] <= 0:
            noise[shell_number] = noise[shell_number - 1] if shell_number else noise[noise > 0][0]
    return noise
