"""References compared at given poses, against the same written out: one rotation and one offset for each image."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import (
    BOX,
    PIXEL,
    RADIUS,
    SUMS,
    assert_same,
    formulas_and_step,
    mixed_particles,
    particle_set,
    rivals,
    speckle,
)

from blush.expectation.component import Component, Reference
from blush.expectation.fixed import significant
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.transform import transform
from blush.io.particles import ParticleSet

COUNT = 11


def given_poses(n: int, dtype: torch.dtype = torch.float64, **changes) -> Model:
    """References of other priors that every image is compared with at its own pose."""
    given = rivals(n, fixed_poses=True, **changes)
    references = tuple(
        replace(one, sphere=transform(speckle(k + 1).to(dtype), RADIUS))
        for k, one in enumerate(given.component.references)
    )
    return replace(given, component=Component(references, given.component.grid))


@pytest.fixture
def particles(tmp_path) -> ParticleSet:
    return mixed_particles(tmp_path, COUNT)


def run(given: Model, particles: ParticleSet, dtype: torch.dtype = torch.float64) -> Sums:
    return Expectation(given, particles, dtype, torch.device("cpu")).run(particles)


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_every_sum_is_that_of_the_formulas(n, temperature, particles):
    """Shares, D and W of each reference, noise, scales, offsets, norms, likelihoods; poses as they were."""
    expected, found = formulas_and_step(given_poses(n, temperature=temperature), particles)
    expected.table.pop("tops", None)
    assert (found.table.pop("n_significant") == n).all()
    assert_same(found, expected, 1e-9)
    if n > 1:
        assert (found.table["shares"] > 1e-4).all()
        assert found.table["shares"].amax(1).min() < 0.9


def test_poses_leave_as_they_came(particles):
    table = run(given_poses(2), particles).table
    for k, name in enumerate(("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")):
        assert torch.equal(table[name], torch.from_numpy(getattr(particles, name)))
        assert torch.equal(table["poses"][..., k], torch.from_numpy(getattr(particles, name))[:, None].expand(-1, 2))


def blobs() -> np.ndarray:
    """Images of three soft spots each, whose density is 0 where the mask is below 1."""
    rng, axis = np.random.default_rng(4), np.arange(BOX) - BOX // 2
    images = np.zeros((COUNT, BOX, BOX))
    for image in images:
        for x, y in rng.uniform(-1.5, 1.5, (3, 2)):
            image += np.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 2)
    return images


def test_a_fraction_of_a_pixel_is_undone_exactly(tmp_path, real):
    """Images moved by Fourier's shift theorem, with offsets that bring them back, give what the still ones give."""
    k = np.fft.fftfreq(BOX)
    shift_px = np.random.default_rng(9).uniform(-1, 1, (COUNT, 2))
    ramp = np.exp(-2j * np.pi * (k * shift_px[:, :1, None] + (k * shift_px[:, 1:])[:, :, None]))
    images = blobs()
    moved = np.fft.ifft2(np.fft.fft2(images) * ramp).real
    angles = {f"{name}_deg": np.linspace(0, 150, COUNT) for name in ("rot", "tilt", "psi")}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    still = particle_set(tmp_path / "a", images, **angles)
    back = {f"offset_{axis}_angst": -shift_px[:, i] * PIXEL for i, axis in enumerate("xy")}
    given = given_poses(2, real, particle_diameter_angst=2 * 7 * PIXEL)
    one, two = (run(given, p, real) for p in (still, particle_set(tmp_path / "b", moved, **angles, **back)))
    one.noise[:, -1], two.noise[:, -1] = 0, 0  # no real image is another one moved, at Nyquist
    bound = 1e-4  # the moved spots' tails, exp(-4.5^2 / 2), where the mask falls
    for name in SUMS:
        first, second = getattr(one, name), getattr(two, name)
        assert (first - second).abs().max() <= bound * second.abs().max(), name
    for first, second in zip(one.volumes, two.volumes, strict=True):
        assert (first.grid - second.grid).abs().max() <= bound * second.grid.abs().max()
    torch.testing.assert_close(one.table["shares"], two.table["shares"], rtol=1e-3, atol=0)
    expected = np.square(shift_px).sum() * PIXEL**2
    assert float(two.offset_square) == pytest.approx(expected, rel=1e-6)


def test_an_image_is_not_inserted_where_it_has_no_share(particles):
    """Priors e^-18 apart: W of the loser is 0, its share is told, and sums weigh what was kept."""
    given = given_poses(2, adaptive_fraction=0.999)
    winner, loser = given.component.references
    references = (replace(winner, log_prior=0.0), replace(loser, log_prior=-18.0))
    found = run(replace(given, component=Component(references, given.component.grid)), particles)
    share = found.table["shares"]
    assert (share[:, 1] < 1e-4).all()
    assert share[:, 1].max() > 1e-9
    assert (found.volumes[1].grid == 0).all()
    assert (found.table["n_significant"] == 1).all()
    assert float(found.weight.sum()) == pytest.approx(float(share[:, 0].sum()), rel=1e-12)
    assert float(found.shares[1]) == 0
    alone = run(replace(given, component=Component(references[:1], given.component.grid)), particles)
    torch.testing.assert_close(found.table["norm_correction"], alone.table["norm_correction"], rtol=1e-10, atol=0)


def test_the_fewest_references_that_hold_the_fraction_are_significant():
    """As samples of poses are: from the largest on until their sum exceeds it, in any order of the references."""
    shares = torch.tensor([[0.001, 0.009, 0.99], [0.5, 0.4, 0.1], [0.0004, 0.9992, 0.0004]], dtype=torch.float64)
    expected = torch.tensor([[0, 0.009, 0.99], [0.5, 0.4, 0.1], [0, 0.9992, 0]], dtype=torch.float64)
    assert torch.equal(significant(shares, 0.995), expected)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_a_confined_image_is_compared_with_its_reference_alone(temperature, particles):
    to = np.arange(COUNT) % 3
    given = given_poses(3, temperature=temperature)
    found = run(given, replace(particles, confined_to=to))
    for k in range(3):
        own = np.flatnonzero(to == k)
        only = Component((given.component.references[k],), given.component.grid)
        alone = run(replace(given, component=only), particles.take(own))
        grid = alone.volumes[0].grid
        assert (found.volumes[k].grid - grid).abs().max() < 1e-12 * grid.abs().max()
        for name in alone.table:
            torch.testing.assert_close(found.table[name][own], alone.table[name], rtol=1e-11, atol=1e-11)
        assert (found.table["shares"][own] == torch.eye(3, dtype=torch.float64)[k]).all()


def test_blocks_change_nothing_and_a_run_gives_the_same_bytes(particles, real):
    given = given_poses(3, real, temperature=2.0)
    step = Expectation(given, particles, real, torch.device("cpu"))
    assert step.room.images == 4096
    one, two = step.run(particles), step.run(particles)
    assert all(torch.equal(a.grid, b.grid) for a, b in zip(one.volumes, two.volumes, strict=True))
    assert all(torch.equal(column, two.table[name]) for name, column in one.table.items())
    step.room.images = 4
    assert_same(step.run(particles), one, 3e-5 if real == torch.float32 else 1e-12)


def test_compiled_and_torch_kernels_agree(particles, both_kernels):
    given = given_poses(3, torch.float32)
    one, two = both_kernels(lambda: run(given, particles, torch.float32))
    assert_same(one, two, 3e-5)


def test_images_of_two_maps_are_told_apart(tmp_path):
    """Views along z and x of one map or the other, at poses that are known."""
    clean = np.stack([speckle(1 + i % 2).sum(0 if i < 6 else 2).numpy() for i in range(COUNT)])
    noise = np.random.default_rng(2).normal(0, 1, clean.shape)
    # Along x the volume's y and z are the image's x and y: rot 90, tilt 90, psi 90 takes them there.
    angles = {f"{name}_deg": np.where(np.arange(COUNT) < 6, 0.0, value) for name, value in
              (("rot", 0.0), ("tilt", 90.0), ("psi", 90.0))}  # fmt: skip
    particles = particle_set(tmp_path, clean + 0.3 * noise, phase_shift_deg=np.full(COUNT, 90.0),
                             defocus_u_angst=np.zeros(COUNT), defocus_v_angst=np.zeros(COUNT), **angles)  # fmt: skip
    given = given_poses(2, noise=torch.full((2, BOX // 2 + 1), 0.1 / BOX**2).double(), scale=torch.ones(3).double())
    label = run(replace(given, norm_average=1.0), particles).table["shares"].argmax(1)
    assert label.tolist() == [i % 2 for i in range(COUNT)]


@pytest.mark.parametrize("confined_to", [None, np.arange(COUNT) % 3])
def test_the_reference_that_correlates_best_takes_all(confined_to, particles):
    """Grey scales do not matter, nor priors or temperatures: one map is a fifth as strong as the others."""
    given = given_poses(3, cross_correlation=True, temperature=4.0)
    references = list(given.component.references)
    references[1] = replace(references[1], sphere=transform(0.2 * speckle(2), RADIUS))
    given = replace(given, component=Component(tuple(references), given.component.grid))
    expected, found = formulas_and_step(given, replace(particles, confined_to=confined_to))
    del expected.table["tops"]
    assert (found.table.pop("n_significant") == 1).all()
    assert_same(found, expected, 1e-9)
    assert (found.shares > 0).all()


def test_references_lie_beside_one_another_in_the_order_given(particles):
    """As many as fill two groups of lanes: the sums follow their references."""
    grid = given_poses(1).component.grid
    references = tuple(Reference(transform(speckle(seed), RADIUS)) for seed in range(10))
    given = given_poses(1)
    one, two = (run(replace(given, component=Component(order, grid)), particles) for order in
                (references, references[::-1]))  # fmt: skip
    for first, second in zip(one.volumes, two.volumes[::-1], strict=True):
        assert (first.grid - second.grid).abs().max() < 1e-12 * first.grid.abs().max()
    torch.testing.assert_close(one.table["shares"], two.table["shares"].flip(1), rtol=1e-10, atol=0)
