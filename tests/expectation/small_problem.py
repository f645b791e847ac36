"""A search small enough to check pose by pose: a speckled ball of 16 px, 72 coarse orientations, 5 shifts."""

from dataclasses import replace
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import torch
from dense_step import dense_step

from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.packed import packed
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet

BOX, COARSE, RADIUS, PIXEL = 16, 4, 6, 4.0
PIXELS = packed(BOX)
N, N_FINE = PIXELS.inside(COARSE), PIXELS.inside(RADIUS)
SUMS = ("noise", "weight", "scale_cross", "scale_power", "directions", "shares")


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


def assert_same(one: Sums, two: Sums, tolerance: float) -> None:
    """Sums to a tolerance of their largest value, tables row by row."""
    for name in SUMS:
        first, second = getattr(one, name), getattr(two, name)
        assert (first - second).abs().max() <= tolerance * second.abs().max(), name
    for first, second in zip(one.volumes, two.volumes, strict=True):
        assert (first.grid - second.grid).abs().max() <= tolerance * second.grid.abs().max()
    assert float(one.offset_square) == pytest.approx(float(two.offset_square), rel=tolerance)
    assert one.table.keys() == two.table.keys()
    for name in one.table:
        first, second = one.table[name].double(), two.table[name].double()
        bound = tolerance * max(1.0, float(second.abs().max()))
        assert (first - second).abs().max() <= bound, name


def rivals(n: int, **changes) -> Model:
    """`n` references of other priors; so much noise that every pose of each counts, and sums that leave none out."""
    prior = torch.tensor([0.5, 1.1, 1.4]).double()[:n].log()
    references = tuple(
        Reference(transform(speckle(seed + 1), RADIUS), log_prior=float(prior[seed])) for seed in range(n)
    )
    given = model(
        torch.float64,
        noise=torch.tensor([[1.0], [1.7]]).double() * torch.linspace(3, 1.5, BOX // 2 + 1).double() / BOX**2,
        scale=torch.tensor([0.8, 1.0, 1.3]).double(),
        scale_shells=torch.arange(BOX // 2 + 1) < 5,
        norm_average=0.93,
        adaptive_fraction=1 - 1e-13,
    )
    return replace(given, component=Component(references, given.component.grid), **changes)


def mixed_particles(folder: Path, count: int) -> ParticleSet:
    """Noise over views of two maps, at any poses and offsets; the second optics group is premultiplied and tilted."""
    rng = np.random.default_rng(8)
    clean = np.stack([speckle(1 + i % 2).sum(i % 3).numpy() for i in range(count)])
    angles = {f"{name}_deg": rng.uniform(0, 180, count) for name in ("rot", "tilt", "psi")}
    offsets = {f"offset_{axis}_angst": rng.uniform(-6, 6, count) for axis in "xy"}
    columns = angles | offsets | {"norm_correction": rng.uniform(0.8, 1.2, count)}
    particles = particle_set(folder, clean + rng.normal(0, 1, clean.shape), **columns)
    first, second = particles.optics
    lens = {"beam_tilt_x_mrad": 1.5, "beam_tilt_y_mrad": -2.0, "odd_zernike": (0.2, -0.1)}
    return replace(particles, optics=(first, replace(second, ctf_premultiplied=True, **lens)))


def formulas_and_step(given: Model, particles: ParticleSet) -> tuple[Sums, Sums]:
    """What `dense_step` and the step itself give, float64, with poses as matrices and offsets in both tables.

    Of the formulas the column `tops` is left beside: weight of the best sample of each reference.
    """
    expected = dense_step(given, particles)
    found = Expectation(given, particles, torch.float64, torch.device("cpu")).run(particles)
    angles = torch.stack([found.table.pop(f"{name}_deg") for name in ("rot", "tilt", "psi")], 1)
    found.table["matrix"] = matrix_from_euler(angles)
    if "poses" in found.table:
        poses = found.table.pop("poses")
        found.table |= {"matrices": matrix_from_euler(poses[..., :3]), "offsets": poses[..., 3:]}
    return expected, found
