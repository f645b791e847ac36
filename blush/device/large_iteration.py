"""The expectation step of a last iteration shaped like EMPIAR-10028's set of 105,247 images of 360 px, of a part of it.

Images are views of a random map with noise, at known poses; the search is local and to Nyquist, as a last iteration's
is. What is not in it: reading a whole set from disks, reduce and maps.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from blush.device.clock import Deadline, finish
from blush.expectation.background import Background
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.mask import soft_sphere
from blush.fourier.transform import Sphere, transform
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.mrc import write_stack
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet
from blush.refine.schedule import local_sigma_deg

IMAGES, BOX_PX, PIXEL_ANGST = 105_247, 360, 1.34
ORDER, OFFSETS_PX, STEP_PX = 5, 3.0, 1.0
PART = {"cuda": 1024, "cpu": 4}
BOX_OF_CPU = 128
"""A CPU is given smaller images, which it can do in the time."""
NOISE = 2.0
"""Standard deviation over that of the views."""
MEMORY_BYTES = {"cuda": 32e9, "cpu": 2e9}


@dataclass(frozen=True)
class Iteration:
    """What a part of the images took, and all of them would.

    Attributes
    ----------
    part
        Share of the 105,247 images.
    seconds
        Time of the part, without what every shard shares.
    extrapolated_s
        Time of all images, on one device.
    """

    box_px: int
    images: int
    part: float
    prepared_s: float
    seconds: float
    extrapolated_s: float


def measured(device: torch.device, folder: Path, deadline: Deadline, seed: int) -> Iteration | None:
    """Time the part; None where not even that is in the time that is left."""
    box = BOX_PX if device.type == "cuda" else BOX_OF_CPU
    begin = time.perf_counter()
    count = PART[device.type]
    generator = torch.Generator().manual_seed(seed)
    volume = torch.randn(box, box, box, generator=generator).to(device)
    volume *= soft_sphere(box, 0.35 * box, 5.0, device, torch.float32)
    sphere = transform(volume, box // 2)
    particles = _particles(folder, count, box, sphere, generator)
    finish(device)
    model = _model(sphere, particles, box)
    step = Expectation(model, particles, torch.float32, device, MEMORY_BYTES[device.type])
    first = particles.take(np.arange(min(count, step.room.images, max(1, count // 8))))
    step.run(first)
    finish(device)
    prepared = time.perf_counter() - begin
    if deadline.left_s < 0:
        return None
    begin = time.perf_counter()
    step.run(particles)
    finish(device)
    taken = time.perf_counter() - begin
    return Iteration(box, count, count / IMAGES, prepared, taken, taken * IMAGES / count)


def _particles(folder: Path, count: int, box: int, sphere: Sphere, generator: torch.Generator) -> ParticleSet:
    """Views of the map at random poses with noise, in one stack."""

    def uniform(low: float, high: float) -> np.ndarray:
        return (low + (high - low) * torch.rand(count, generator=generator, dtype=torch.float64)).numpy()

    zero, one = np.zeros(count), np.ones(count)
    particles = ParticleSet(
        image_index=np.arange(count),
        stack_index=np.zeros(count, np.int32),
        optics_index=np.zeros(count, np.int32),
        group_index=np.zeros(count, np.int32),
        half=np.ones(count, np.int8),
        stacks=(str(folder / "images.mrcs"),),
        optics=(OpticsGroup("all", 300.0, 2.7, 0.1, PIXEL_ANGST, box),),
        has_poses=True,
        defocus_u_angst=uniform(8e3, 2e4),
        defocus_v_angst=uniform(8e3, 2e4),
        defocus_angle_deg=uniform(0, 180),
        phase_shift_deg=zero,
        ctf_bfactor=zero,
        ctf_scale=one,
        norm_correction=one,
        rot_deg=uniform(-180, 180),
        tilt_deg=np.degrees(np.arccos(uniform(-1, 1))),
        psi_deg=uniform(-180, 180),
        offset_x_angst=zero,
        offset_y_angst=zero,
    )
    seen, images = Background(sphere, particles), []
    for begin in range(0, count, 64):
        some = particles.take(np.arange(begin, min(begin + 64, count)))
        clean = seen.images(some, torch.ones(len(some), dtype=torch.float64)).cpu()
        images.append(clean / clean.std() + NOISE * torch.randn(clean.shape, generator=generator))
    write_stack(folder / "images.mrcs", torch.cat(images).numpy().astype(np.float32), PIXEL_ANGST)
    return particles


def _model(sphere: Sphere, particles: ParticleSet, box: int) -> Model:
    """A local search about the poses, as of a last iteration; noise and scale of the images as they were made."""
    shells = box // 2 + 1
    grid = OrientationGrid.build(ORDER)
    return Model(
        component=Component((Reference(sphere),), grid),
        pixel_size_angst=PIXEL_ANGST,
        particle_diameter_angst=0.8 * box * PIXEL_ANGST,
        coarse_radius=min(box // 2, 90),
        radius=box // 2,
        noise=torch.full((1, shells), NOISE**2 / (2 * box**2), dtype=torch.float64),
        scale=torch.ones(1, dtype=torch.float64),
        norm_average=1.0,
        offsets_angst=offset_grid(OFFSETS_PX * PIXEL_ANGST, STEP_PX * PIXEL_ANGST),
        offset_step_angst=STEP_PX * PIXEL_ANGST,
        sigma_offset_angst=3.0,
        local_sigma_deg=local_sigma_deg(ORDER, 1),
    )
