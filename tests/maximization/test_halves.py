"""Where the half-sets meet: joining, FSC of known signal and noise, and the sum."""

import numpy as np
import pytest
import torch

from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, symmetrise, trim
from blush.fourier.transform import sphere_k2
from blush.geometry.symmetry import operators
from blush.maximization.halves import add_halves, half_sum_fsc, join_low_resolution, join_shell, shared_part

BOX, R_MAX = 24, 10


def random_sums(seed: int, dtype: torch.dtype = torch.float64) -> Accumulator:
    """Hermitian sums of white complex noise, every weight 1."""
    empty = empty_accumulator(BOX, R_MAX, dtype=torch.float64)
    grid = torch.randn(empty.grid.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    grid[..., 2], grid[..., 3] = 1, 0
    return trim(hermitian(Accumulator(grid.to(dtype), BOX, R_MAX)))


def mixed(first: Accumulator, second: Accumulator, a: float, b: float) -> Accumulator:
    """Data a D1 + b D2, weights of the first."""
    grid = first.grid.clone()
    grid[..., :2] = a * first.grid[..., :2] + b * second.grid[..., :2]
    return Accumulator(grid, BOX, R_MAX)


@pytest.mark.parametrize(
    ("box", "pixel", "join", "resolution", "expected"),
    [(64, 2.0, 40.0, 20.0, 4), (64, 2.0, 40.0, 60.0, 3), (100, 1.0, 40.0, 10.0, 3), (80, 1.0, 40.0, 10.0, 2)],
)
def test_the_shell_to_join_is_rounded_up_and_not_beyond_the_resolution(box, pixel, join, resolution, expected):
    assert join_shell(box, pixel, join, resolution) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_joined_halves_share_their_average_inside_and_keep_their_own_outside(dtype):
    first, second = random_sums(1, dtype), random_sums(2, dtype)
    before = first.grid.clone()
    one, two = join_low_resolution(first, second, 4)
    inside = sphere_k2(first.radius) <= 8**2
    assert torch.equal(one.grid[inside], two.grid[inside])
    assert torch.equal(one.grid[inside], ((first.grid + second.grid) / 2)[inside])
    assert torch.equal(one.grid[~inside], first.grid[~inside])
    assert torch.equal(two.grid[~inside], second.grid[~inside])
    assert torch.equal(first.grid, before)


def test_joining_does_not_depend_on_which_half_is_first():
    first, second = random_sums(1), random_sums(2)
    one, two = join_low_resolution(first, second, 4)
    other_two, other_one = join_low_resolution(second, first, 4)
    assert torch.equal(one.grid, other_one.grid)
    assert torch.equal(two.grid, other_two.grid)


def test_the_shared_part_is_what_joined_halves_agree_in():
    one, two = join_low_resolution(random_sums(1), random_sums(2), 4)
    kept = shared_part(one, 4)
    assert torch.equal(kept.grid, shared_part(two, 4).grid)
    assert torch.equal(kept.data, torch.where(one.data == two.data, one.data, 0))
    assert 0 < int((kept.weight > 0).sum()) < int((one.weight > 0).sum())


def test_the_sum_of_halves_holds_all_particles():
    first, second = random_sums(1), random_sums(2)
    total = add_halves(first, second)
    assert torch.equal(total.grid, first.grid + second.grid)
    assert (total.box_px, total.r_max) == (BOX, R_MAX)


@pytest.mark.parametrize("factor", [1.0, 7.0, -1.0])
def test_equal_halves_correlate_fully_at_any_scale(factor):
    first = random_sums(1)
    fsc = half_sum_fsc(first, mixed(first, first, factor, 0))
    assert fsc.shape == (BOX // 2 + 1,)
    np.testing.assert_allclose(fsc[1 : R_MAX + 1], np.sign(factor), rtol=1e-12)
    assert fsc[0] == 1
    assert (fsc[R_MAX + 1 :] == 0).all()


def test_the_fsc_is_that_of_the_sums_over_their_weights():
    """Twice the images, twice D and W: the same map."""
    first, second = random_sums(1), random_sums(2)
    both = mixed(first, second, 1, 1)
    heavy = Accumulator(3 * both.grid, BOX, R_MAX)
    np.testing.assert_allclose(half_sum_fsc(first, heavy), half_sum_fsc(first, both), rtol=1e-12)


@pytest.mark.parametrize("ssnr", [0.25, 1.0, 4.0])
def test_halves_of_known_signal_to_noise_have_its_fsc(ssnr):
    """Common signal plus independent noise: SSNR / (1 + SSNR), within the scatter of independent coefficients."""
    signal, noise = random_sums(1), [random_sums(2), random_sums(3)]
    one, two = (mixed(n, signal, 1, np.sqrt(ssnr)) for n in noise)
    fsc, expected = half_sum_fsc(one, two), ssnr / (1 + ssnr)
    shells = np.arange(3, R_MAX)
    independent = 2 * np.pi * shells**2  # half of 4 pi s^2; cells are averaged before, 8 to 1
    assert (np.abs(fsc[shells] - expected) < 4 / np.sqrt(independent)).all()
    assert abs(np.average(fsc[shells] - expected, weights=independent)) < 4 / np.sqrt(independent.sum())


def test_the_fsc_is_the_same_from_either_side():
    first, second = random_sums(1), mixed(random_sums(2), random_sums(1), 1, 0.8)
    np.testing.assert_allclose(half_sum_fsc(first, second), half_sum_fsc(second, first), rtol=1e-13)


def test_joined_shells_correlate_fully():
    first, second = join_low_resolution(random_sums(1), random_sums(2), 4)
    fsc = half_sum_fsc(first, second)
    np.testing.assert_allclose(fsc[:4], 1, rtol=1e-12)  # shell 4 reaches to 4.5
    assert (fsc[5 : R_MAX + 1] < 0.5).all()


def test_symmetry_of_both_halves_raises_the_fsc_of_noise_by_nothing():
    """Symmetrised noise is still independent between halves."""
    one, two = (symmetrise(random_sums(seed), operators("D2")) for seed in (1, 2))
    shells = np.arange(5, R_MAX)
    assert (np.abs(half_sum_fsc(one, two)[shells]) < 5 / np.sqrt(2 * np.pi * shells**2 / 4)).all()


def test_empty_halves_have_no_correlation():
    empty = empty_accumulator(BOX, R_MAX)
    assert half_sum_fsc(empty, empty).tolist() == [1.0] + [0.0] * (BOX // 2)


def test_the_fsc_is_that_of_a_plain_loop_over_cells():
    """Cells of the padded grid go to the nearest unpadded one, halves away from zero; those within r_max count."""
    r_max = 3
    rng = np.random.default_rng(5)
    halves = []
    for _ in range(2):
        sums = empty_accumulator(8, r_max, dtype=torch.float64)
        sums.grid[..., :2] = torch.from_numpy(rng.normal(0, 1, (*sums.grid.shape[:3], 2)))
        sums.grid[..., 2] = torch.from_numpy(rng.uniform(0.5, 2, sums.grid.shape[:3]))
        halves.append(sums)
    r, ratios = halves[0].radius, []
    for sums in halves:
        cells: dict[tuple[int, int, int], list[complex]] = {}
        for z, y, x in np.ndindex(*sums.grid.shape[:3]):
            k = (z - r, y - r, x)
            if sum(v * v for v in k) > (2 * r_max) ** 2:
                continue
            near = tuple(int(np.sign(v) * np.floor(abs(v) / 2 + 0.5)) for v in k)
            data, weight = cells.get(near, (0.0, 0.0))
            real, imaginary, w = sums.grid[z, y, x, :3].tolist()
            cells[near] = [data + complex(real, imaginary), weight + w]
        ratios.append({near: data / weight for near, (data, weight) in cells.items()})
    expected = np.zeros(r_max + 1)
    for shell in range(1, r_max + 1):
        inside = [k for k in ratios[0] if sum(v * v for v in k) <= r_max**2 and
                  int(np.floor(np.sqrt(sum(v * v for v in k)) + 0.5)) == shell]  # fmt: skip
        one, two = (np.array([ratio[k] for k in inside]) for ratio in ratios)
        expected[shell] = (one * two.conj()).real.sum() / np.sqrt((abs(one) ** 2).sum() * (abs(two) ** 2).sum())
    np.testing.assert_allclose(half_sum_fsc(*halves)[1 : r_max + 1], expected[1:], rtol=1e-12)
