"""The expectation step of a shard: what must not change its sums, and how they must change with the images."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from dense_step import dense_step
from small_problem import BOX, PIXEL, RADIUS, SUMS, assert_same, model, particle_set, speckle

from blush.expectation import shard as module
from blush.expectation.accuracy import expected_accuracy
from blush.expectation.batches import batches
from blush.expectation.component import Component, Reference
from blush.expectation.kept_poses import Poses
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums, whole_volumes
from blush.fourier.backproject import Accumulator, hermitian, trim
from blush.fourier.transform import Sphere, inverse_transform, transform
from blush.geometry.rotation import matrix_from_euler
from blush.io.particles import ParticleSet

COUNT = 11
TABLE = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "pmax", "n_significant")


def full_model(dtype: torch.dtype, **changes) -> Model:
    """Two optics groups and three groups, with noise at which posteriors are neither flat nor single."""
    shells = torch.arange(BOX // 2 + 1) < 5
    noise = torch.full((2, BOX // 2 + 1), 0.5 / BOX**2, dtype=torch.float64)
    noise[1] *= 1.5
    scale = torch.tensor([0.8, 1.0, 1.3], dtype=torch.float64)
    return model(dtype, **({"noise": noise, "scale": scale, "scale_shells": shells} | changes))


def views(seed: int = 5) -> np.ndarray:
    """Sums of the ball along its axes with noise of variance 1."""
    noise = np.random.default_rng(seed).normal(0, 1, (COUNT, BOX, BOX))
    return noise + np.stack([speckle().sum(axis % 3).numpy() for axis in range(COUNT)])


@pytest.fixture
def particles(tmp_path) -> ParticleSet:
    rng = np.random.default_rng(6)
    return particle_set(
        tmp_path, views(), offset_x_angst=rng.uniform(-6, 6, COUNT), offset_y_angst=rng.uniform(-6, 6, COUNT),
        norm_correction=rng.uniform(0.8, 1.2, COUNT),
    )  # fmt: skip


def step(given: Model, particles: ParticleSet, dtype: torch.dtype, **arguments) -> Expectation:
    return Expectation(given, particles, dtype, torch.device("cpu"), **arguments)


def rounding(dtype: torch.dtype) -> float:
    """Log weights near 100 round at 1e2 eps, weights and sums over them alike."""
    return 3e-4 if dtype == torch.float32 else 1e-11


@pytest.mark.parametrize("cuts", [(0, 4, 11), (0, 1, 2, 10, 11)])
def test_shards_add_up_to_the_whole(cuts, particles, real):
    fast = step(full_model(real), particles, real)
    whole = fast.run(particles)
    parts = [fast.run(particles.take(np.arange(a, b))) for a, b in itertools.pairwise(cuts)]
    total = replace(
        whole,
        volumes=(replace(whole.volumes[0], grid=sum(p.volumes[0].grid for p in parts)),),
        offset_square=torch.stack([p.offset_square for p in parts]).sum(),
        table={name: torch.cat([p.table[name] for p in parts]) for name in whole.table},
        **{name: sum(getattr(p, name) for p in parts) for name in SUMS},
    )
    assert_same(total, whole, rounding(real))


def test_a_shard_gives_the_same_bytes_every_time(particles, real):
    one, two = (step(full_model(real), particles, real).run(particles) for _ in range(2))
    assert torch.equal(one.volumes[0].grid, two.volumes[0].grid)
    for name in SUMS:
        assert torch.equal(getattr(one, name), getattr(two, name))
    for name, column in one.table.items():
        assert torch.equal(column, two.table[name])


@pytest.mark.parametrize("local", [None, 30.0])
def test_memory_sets_the_block_and_the_block_changes_nothing(local, particles, real):
    given = full_model(real, local_sigma_deg=local)
    small, large = (step(given, particles, real, memory_bytes=m) for m in (1.0, 2e9))
    assert (small.room.images, large.room.images) == (1, 256)
    assert_same(small.run(particles), large.run(particles), rounding(real))


def testbatches_of_the_second_pass_change_nothing(particles, real, monkeypatch):
    fast = step(full_model(real), particles, real)
    whole = fast.run(particles)
    assert int(whole.table["n_significant"].max()) > 20
    monkeypatch.setattr(module, "PAIRS_PER_BATCH", 20)
    assert_same(fast.run(particles), whole, rounding(real))


def test_compiled_and_torch_kernels_agree(particles, both_kernels):
    one, two = both_kernels(lambda: step(full_model(torch.float32), particles, torch.float32).run(particles))
    assert_same(one, two, rounding(torch.float32))


def test_the_rows_of_the_table_follow_the_particles(particles, real):
    fast = step(full_model(real), particles, real)
    order = np.random.default_rng(3).permutation(COUNT)
    whole, mixed = fast.run(particles), fast.run(particles.take(order))
    mixed.table = {name: column[torch.from_numpy(np.argsort(order))] for name, column in mixed.table.items()}
    assert_same(mixed, whole, rounding(real))


def test_posterior_weights_sum_to_nearly_one_per_particle(particles, real):
    sums = step(full_model(real), particles, real).run(particles)
    counts = torch.bincount(torch.from_numpy(particles.optics_index).long()).double()
    assert (sums.weight > 0.999 * counts).all()
    assert (sums.weight <= counts * (1 + 1e-6)).all()
    assert float(sums.directions.sum()) == pytest.approx(float(sums.weight.sum()), rel=1e-12)
    assert set(TABLE) <= sums.table.keys()
    assert all(len(column) == COUNT for column in sums.table.values())
    assert 0.02 < float(sums.table["pmax"].min()) < 0.9  # the problem is no trivial one


def test_progress_counts_particles(particles):
    done: list[int] = []
    fast = step(full_model(torch.float32), particles, torch.float32)
    fast.room.images = 4
    fast.run(particles, done.append)
    assert done == [4, 8, 11]


def test_an_image_moved_by_whole_pixels_with_its_offset_gives_the_same(tmp_path, real):
    """Offsets are absolute: the stored one is undone first, and the answer contains it.

    See docs/algorithm.md, section 3.
    """
    bare = np.zeros((COUNT, BOX, BOX))
    bare[:, 4:-4, 4:-4] = views()[:, 4:-4, 4:-4]
    given = full_model(real, sigma_offset_angst=1e9)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    still = particle_set(tmp_path / "a", bare)
    moved = particle_set(
        tmp_path / "b", np.roll(bare, (-1, 2), (1, 2)),
        offset_x_angst=np.full(COUNT, -2 * PIXEL + 0.3), offset_y_angst=np.full(COUNT, PIXEL - 0.3),
    )  # fmt: skip
    one, two = (step(given, p, real).run(p) for p in (still, moved))
    expected = dict(one.table)
    expected["offset_x_angst"] = one.table["offset_x_angst"] - 2 * PIXEL  # whole pixels alone are kept
    expected["offset_y_angst"] = one.table["offset_y_angst"] + PIXEL
    offset_square = float(two.offset_square)
    assert offset_square != pytest.approx(float(one.offset_square), rel=1e-3)
    assert_same(
        replace(two, offset_square=torch.zeros(())),
        replace(one, offset_square=torch.zeros(()), table=expected),
        rounding(real),
    )


def test_a_particle_of_twice_the_contrast_with_twice_the_norm_gives_the_same(particles, tmp_path, real):
    (tmp_path / "b").mkdir()
    factor = np.where(np.arange(COUNT) % 3 == 0, 2.0, 1.0)
    columns = {name: getattr(particles, name) for name in ("offset_x_angst", "offset_y_angst")}
    doubled = particle_set(
        tmp_path / "b", views() * factor[:, None, None], norm_correction=particles.norm_correction * factor, **columns
    )
    one, two = (step(full_model(real), p, real).run(p) for p in (particles, doubled))
    two.table["norm_correction"] = two.table["norm_correction"] / torch.from_numpy(factor)
    assert_same(two, one, rounding(real))


def test_noise_is_the_power_of_the_image_where_nothing_is_compared(particles, real):
    """Beyond the current size there is no model: the residual is the image."""
    fast = step(full_model(real), particles, real)
    sums = fast.run(particles)
    power = fast._load(particles).images.power
    expected = torch.zeros_like(sums.noise)
    expected.index_add_(0, torch.from_numpy(particles.optics_index).long(), power)
    ratio = (sums.noise / expected)[:, RADIUS + 1 :]
    assert (ratio > 0.999).all()
    assert (ratio <= 1 + 1e-6).all()


def test_local_searches_need_no_global_grid(particles, real):
    fast = step(full_model(real, local_sigma_deg=30.0), particles, real)
    assert fast.search is None
    assert float(fast.run(particles).weight.sum()) > 0.999 * COUNT


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limit", [1, 7, 50, 10**6])
def testbatches_are_consecutive_and_within_the_limit(seed, limit):
    count = torch.from_numpy(np.random.default_rng(seed).integers(1, 20, 40))
    nothing = torch.zeros(0, dtype=torch.int64)
    slices = list(batches(Poses(nothing, nothing, nothing, nothing, count), limit))
    assert [s.start for s in slices] == [0, *(s.stop for s in slices[:-1])]
    assert slices[-1].stop == 40
    for s in slices:
        assert s.stop - s.start == 1 or int(count[s].sum()) <= limit
    for s, after in itertools.pairwise(slices):
        assert int(count[s.start : after.start + 1].sum()) > limit  # one more would not have fitted


@pytest.mark.parametrize("premultiplied", [False, True])
def test_accuracies_know_what_multiplies_the_reference(premultiplied, particles):
    """CTF, or CTF^2 where images are premultiplied, of each particle, times the scale of its group."""
    optics = tuple(replace(group, ctf_premultiplied=premultiplied) for group in particles.optics)
    particles = replace(particles, optics=optics)
    given = full_model(torch.float64, noise=torch.full((2, BOX // 2 + 1), 3 / BOX**2, dtype=torch.float64))
    fast = step(given, particles, torch.float64)
    ctf = fast.tables.ctf(particles, fast.n_pixels)
    transfer = (ctf**2 if premultiplied else ctf) * given.scale[torch.from_numpy(particles.group_index).long(), None]
    poses, noise = torch.zeros(COUNT, 3, dtype=torch.float64), given.noise[particles.optics_index]
    rotation, shift_px = expected_accuracy(given.component.sphere, poses, transfer, noise, fast.pixels, RADIUS, 3)
    (found_deg,), (found_angst,) = fast.accuracy(particles, 3)
    found = (found_deg, found_angst)
    assert found == pytest.approx((rotation, shift_px * PIXEL), rel=1e-12)
    other = expected_accuracy(given.component.sphere, poses, transfer * ctf, noise, fast.pixels, RADIUS, 3)
    assert found != pytest.approx((other[0], other[1] * PIXEL), rel=1e-3)


def test_every_reference_has_accuracies_of_its_own(particles):
    given = full_model(torch.float64, noise=torch.full((2, BOX // 2 + 1), 3 / BOX**2, dtype=torch.float64))
    (one,), grid = given.component.references, given.component.grid
    louder = replace(one, sphere=replace(one.sphere, values=2 * one.sphere.values))

    def found(*references: Reference) -> tuple[list[float], list[float]]:
        return step(replace(given, component=Component(references, grid)), particles, torch.float64).accuracy(
            particles, 3
        )

    both, alone, alone_louder = found(one, louder), found(one), found(louder)
    assert both == ([alone[0][0], alone_louder[0][0]], [alone[1][0], alone_louder[1][0]])
    assert both[0][1] < 0.8 * both[0][0]
    assert both[1][1] < 0.8 * both[1][0]


def test_the_prior_of_a_local_search_has_mean_one_over_what_is_searched(particles):
    """Without a reference every pose fits alike: what is left of the likelihood is the number of poses searched."""
    blank = transform(torch.zeros(BOX, BOX, BOX, dtype=torch.float64), RADIUS)
    given = full_model(torch.float64, sphere=blank, adaptive_fraction=1 - 1e-12, sigma_offset_angst=1e6)
    found = [
        step(replace(given, local_sigma_deg=sigma), particles, torch.float64).run(particles).table["log_likelihood"]
        for sigma in (None, 1e5)
    ]
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-4)


FLAT = {
    "adaptive_fraction": 1 - 1e-13,
    "noise": torch.stack([torch.linspace(3, 1.5, BOX // 2 + 1) / BOX**2] * 2).double(),
}
"""So much noise that every pose counts, and sums that leave none out."""
KINDS = {
    "global": {},
    "learned directions": {"log_prior_direction": torch.linspace(-1, 0.6, 12).double()},
    "local": {"local_sigma_deg": 30.0},
    "cross-correlation": {"cross_correlation": True},
}


@pytest.fixture
def mixed(particles) -> ParticleSet:
    """Plain and premultiplied images, by optics group; poses to search around."""
    rng, optics = np.random.default_rng(8), particles.optics
    angles = {f"{name}_deg": rng.uniform(0, 180, COUNT) for name in ("rot", "tilt", "psi")}
    return replace(particles, optics=(optics[0], replace(optics[1], ctf_premultiplied=True)), **angles)


@pytest.mark.parametrize("kind", KINDS)
def test_every_sum_is_that_of_the_formulas_over_all_poses(kind, mixed):
    """Posterior, D and W, noise, scales, offsets, directions, poses, norms and likelihoods of each image."""
    noise = torch.tensor([[1.0], [1.7]]).double() * torch.linspace(3, 1.5, BOX // 2 + 1).double() / BOX**2
    given = full_model(torch.float64, norm_average=0.93, noise=noise, adaptive_fraction=1 - 1e-13, **KINDS[kind])
    expected, found = dense_step(given, mixed), step(given, mixed, torch.float64).run(mixed)
    matrices = expected.table.pop("matrix")
    angles = torch.stack([found.table[f"{name}_deg"] for name in ("rot", "tilt", "psi")], 1)
    torch.testing.assert_close(matrix_from_euler(angles), matrices, rtol=0, atol=1e-9)
    found.table = {name: found.table[name] for name in expected.table}
    assert_same(found, expected, 1e-9)
    if kind != "cross-correlation":
        assert 0.001 < float(found.table["pmax"].max()) < 0.5


def test_sums_in_whole_numbers_are_those_in_floating_point(particles, monkeypatch, real):
    """As devices add them; the maps that they make differ by less than a millionth of the largest value."""
    given = full_model(real)
    plain = step(given, particles, real).run(particles)
    zero = Sums.zero

    def whole(*arguments) -> Sums:
        return replace(zero(*arguments), volumes=(), whole=whole_volumes(given, torch.device("cpu")))

    monkeypatch.setattr(Sums, "zero", whole)
    found = step(given, particles, real).run(particles)
    assert found.whole == ()
    assert_same(found, plain, 1e-6)
    before, after = (inverse_transform(as_sphere(one.volumes[0])) for one in (plain, found))
    assert (after - before).abs().max() < 1e-6 * before.abs().max()
    assert not torch.equal(found.volumes[0].grid, plain.volumes[0].grid)  # or nothing was compared


def as_sphere(sums: Accumulator) -> Sphere:
    """The map of a shard alone, with as much of a prior as keeps empty cells empty."""
    whole = trim(hermitian(sums))
    return Sphere(whole.data / (whole.weight + 1e-3 * whole.weight.max()), BOX, RADIUS, whole.pad)
