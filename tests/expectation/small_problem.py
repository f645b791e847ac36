"""A search small enough to check pose by pose: a speckled ball of 16 px, 72 coarse orientations, 5 shifts."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import torch

from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.fourier.packed import packed
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet

BOX, COARSE, RADIUS, PIXEL = 16, 4, 6, 4.0
PIXELS = packed(BOX)
N, N_FINE = PIXELS.inside(COARSE), PIXELS.inside(RADIUS)


def speckle(seed: int = 1) -> torch.Tensor:
    """White noise in a soft ball: views differ in every pixel."""
    axis = (torch.arange(BOX, dtype=torch.float64) - BOX // 2) ** 2
    ball = torch.exp(-(((axis[:, None, None] + axis[:, None] + axis) / 16) ** 2))
    return ball * torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def model(dtype: torch.dtype, **changes) -> Model:
    """The problem; changes are fields of the model, of its component's grid, or of its one reference."""
    reference = Reference(transform(speckle().to(dtype), RADIUS))
    given = Model(
        component=Component((reference,), OrientationGrid.build(0, "C1", perturbation=0.3)),
        pixel_size_angst=PIXEL,
        particle_diameter_angst=40.0,
        coarse_radius=COARSE,
        radius=RADIUS,
        noise=torch.ones(1, BOX // 2 + 1, dtype=torch.float64),
        scale=torch.ones(1, dtype=torch.float64),
        norm_average=1.0,
        offsets_angst=offset_grid(4.0, 4.0),
        offset_step_angst=4.0,
        sigma_offset_angst=8.0,
    )
    return changed(given, **changes)


def changed(given: Model, **changes) -> Model:
    """The same with other fields, of whichever part has them."""
    (reference,) = given.component.references
    own = {name: changes.pop(name) for name in ("sphere", "log_prior", "log_prior_direction") if name in changes}
    component = Component((replace(reference, **own),), changes.pop("grid", given.component.grid))
    return replace(given, component=component, **changes)


def particle_set(folder: Path, images: np.ndarray, **columns: np.ndarray) -> ParticleSet:
    """Particles of two optics groups and three groups on disk; columns that are not given are plain."""
    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as stack:
        stack.set_data(images.astype(np.float32))
    n = len(images)
    plain = {
        "defocus_u_angst": np.linspace(9e3, 14e3, n),
        "defocus_v_angst": np.linspace(1e4, 13e3, n),
        "norm_correction": np.ones(n),
        "ctf_scale": np.ones(n),
    }
    names = ("defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "rot_deg", "tilt_deg", "psi_deg")
    plain |= {name: np.zeros(n) for name in (*names, "offset_x_angst", "offset_y_angst")}
    return ParticleSet(
        image_index=np.arange(n),
        stack_index=np.zeros(n, np.int32),
        optics_index=(np.arange(n) % 2).astype(np.int32),
        group_index=(np.arange(n) % 3).astype(np.int32),
        half=np.ones(n, np.int8),
        stacks=(str(folder / "stack.mrcs"),),
        optics=tuple(OpticsGroup(f"g{i}", 300.0 - 100 * i, 2.7, 0.1, PIXEL, BOX) for i in range(2)),
        has_poses=False,
        **(plain | columns),
    )
