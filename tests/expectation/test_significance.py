"""The cut of a posterior against a plain sort, on random, tied and flat samples, near and far from zero."""

import math

import numpy as np
import pytest
import torch

from blush.expectation.significance import Cut, posterior_cut

FRACTION = 0.999
PRUNE = 30
"""10^6 samples e^-30 below the best add 1e-7 of it, which float32 rounds away."""


def plain(log_weight: np.ndarray, fraction: float) -> tuple[np.ndarray, float, np.ndarray]:
    """Which samples of one image are kept, ln of the sum, and the weights: sort, add up, stop; ties stay together."""
    gap = log_weight.max() - log_weight
    weight = np.where(gap < PRUNE, np.exp(-gap.astype(np.float64)), 0)
    running, last = 0.0, 0.0
    for position in np.argsort(gap, kind="stable"):
        if running > fraction * weight.sum():
            break
        running, last = running + weight[position], gap[position]
    kept = gap <= last
    return kept, float(log_weight.max()) + math.log(weight.sum()), np.where(kept, weight / weight.sum(), 0)


def sharp(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 8, shape)


def wide(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(0, 0.8, shape)


def tied(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Few distinct values, many samples of each."""
    return rng.integers(-4, 1, shape) * 1.5


def flat(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, -3.25)


def lonely(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One sample that exists in every row, the rest padding."""
    out = np.full(shape, -np.inf)
    out[:, 0] = rng.normal(0, 5, shape[0])
    return out


SAMPLES = [sharp, wide, tied, flat, lonely]


@pytest.mark.parametrize("fraction", [0.5, 0.9, FRACTION])
@pytest.mark.parametrize("shape", [(1, 1), (5, 1), (1, 300), (7, 32), (40, 32)])
@pytest.mark.parametrize("draw", SAMPLES)
def test_the_cut_is_that_of_a_plain_sort(draw, shape, fraction, real):
    rng = np.random.default_rng(shape[0] + shape[1])
    values = torch.from_numpy(draw(rng, shape)).to(real)
    n_images = min(3, shape[0])
    image = torch.from_numpy(rng.permutation(np.arange(shape[0]) % n_images))
    cut = posterior_cut(values, image, n_images, fraction)
    kept, weight = cut.keeps(values, image), cut.weights(values, image)
    for one in range(n_images):
        rows = image == one
        expected, log_sum, share = plain(values[rows].numpy().ravel(), fraction)
        assert np.array_equal(kept[rows].numpy().ravel(), expected)
        assert float(cut.top[one]) == float(values[rows].max())
        assert float(cut.log_sum[one]) == pytest.approx(log_sum, rel=1e-12, abs=1e-11)
        np.testing.assert_allclose(weight[rows].numpy().ravel(), share, rtol=30 * torch.finfo(real).eps, atol=0)


@pytest.mark.parametrize("level", [0.0, -3e4, 1e5])
@pytest.mark.parametrize("draw", [sharp, wide, tied, flat])
def test_kept_weights_sum_to_more_than_the_fraction_and_at_most_one(draw, level, real):
    """At any level: log weights of real images are tens of thousands, where float32 steps are 1/128."""
    rng = np.random.default_rng(4)
    values = torch.from_numpy(draw(rng, (50, 32)) + level).to(real)
    image = torch.from_numpy(rng.integers(0, 2, 50))
    total = torch.zeros(2, dtype=torch.float64)
    weight = posterior_cut(values, image, 2, FRACTION).weights(values, image)
    total.index_add_(0, image, weight.double().sum(1))
    rounding = 30 * torch.finfo(real).eps + abs(level) * torch.finfo(torch.float64).eps  # of the sum's logarithm
    assert (total <= 1 + rounding).all()
    assert (total > FRACTION - rounding).all()


@pytest.mark.parametrize("level", [-1e5, 0.0, 1e5])
def test_a_constant_added_to_all_samples_changes_no_weight(level, real):
    values = torch.from_numpy(np.random.default_rng(1).integers(-600, 0, (20, 32)) / 64.0).to(real)
    image = torch.zeros(20, dtype=torch.int64)
    first = posterior_cut(values, image, 1, FRACTION)
    second = posterior_cut(values + level, image, 1, FRACTION)  # multiples of 1/64 stay exact
    one, two = first.weights(values, image), second.weights(values + level, image)
    rounding = 2 * torch.finfo(real).eps + abs(level) * torch.finfo(torch.float64).eps  # of the sum's logarithm
    torch.testing.assert_close(one, two, rtol=rounding, atol=0)
    assert float(second.log_sum[0] - first.log_sum[0]) == pytest.approx(level, rel=1e-15, abs=1e-10)


def test_samples_far_below_the_top_count_for_nothing(real):
    values = torch.tensor([[0.0, -PRUNE - 1, -1e6, -torch.inf]], dtype=real)
    cut = posterior_cut(values, torch.zeros(1, dtype=torch.int64), 1, FRACTION)
    assert float(cut.log_sum[0]) == 0.0
    assert cut.keeps(values, torch.zeros(1, dtype=torch.int64)).tolist() == [[True, False, False, False]]


def test_each_image_is_cut_by_its_own_samples(real):
    """A sharp image beside a flat one: together as apart."""
    rng = np.random.default_rng(8)
    first, second = (torch.from_numpy(x).to(real) for x in (rng.normal(0, 5, (9, 32)), rng.normal(50, 0.2, (6, 32))))
    both = posterior_cut(torch.cat((first, second)), torch.tensor([0] * 9 + [1] * 6), 2, FRACTION)
    for position, part in enumerate((first, second)):
        alone = posterior_cut(part, torch.zeros(len(part), dtype=torch.int64), 1, FRACTION)
        for name in ("top", "log_sum", "gap"):
            assert float(getattr(both, name)[position]) == float(getattr(alone, name)[0])


@pytest.mark.parametrize("fraction", [0.0, 1.0, 1.5])
def test_a_fraction_that_no_sum_can_exceed_is_refused(fraction):
    with pytest.raises(ValueError, match=f"fraction {fraction} must lie between 0 and 1"):
        posterior_cut(torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64), 1, fraction)


def test_weights_of_a_cut_are_zero_beyond_its_gap():
    cut = Cut(torch.tensor([2.0]), torch.tensor([2.5], dtype=torch.float64), torch.tensor([1.0]))
    values = torch.tensor([[2.0, 1.0, 0.999]])
    expected = [[math.exp(-0.5), math.exp(-1.5), 0.0]]
    np.testing.assert_allclose(cut.weights(values, torch.zeros(1, dtype=torch.int64)).numpy(), expected, rtol=3e-7)
