"""Scores and weighted sums of pairs against complex arithmetic, one pair at a time, and the twins."""

import numpy as np
import pytest
import torch

from blush.expectation.sparse import Pairs, WeightedSums, accumulate_pairs, score_pairs
from blush.kernels import accumulate, score
from blush.kernels.score import combine
from blush.kernels.shifts import Shifts

B, T, U = 3, 5, 4


def draw(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def sorted_pairs(count: int, seed: int = 0) -> Pairs:
    """Distinct, sorted by (image, orientation, shift)."""
    chosen = np.sort(np.random.default_rng(seed).permutation(B * U * T)[:count])
    image, rest = np.divmod(chosen, U * T)
    orientation, shift = np.divmod(rest, T)
    return Pairs(*(torch.from_numpy(x) for x in (image, shift, orientation)))


def listed(pairs: Pairs) -> list[tuple[int, int, int]]:
    """Image, shift and orientation of each pair."""
    return list(zip(pairs.image.tolist(), pairs.shift.tolist(), pairs.orientation.tolist(), strict=True))


def problem(n: int, children: int, dtype: torch.dtype):
    frequency = torch.from_numpy(np.random.default_rng(n).integers(-9, 10, (2, n)))
    image, shifts = draw(B, 2, n, seed=1, dtype=dtype), Shifts(3 * draw(T, 4, 2, seed=2, dtype=dtype), *frequency, 25)
    power, slices = draw(B, n, seed=3, dtype=dtype).square(), draw(U, children, 2, n, seed=4, dtype=dtype)
    return image, power, shifts, slices


def as_complex(planar: torch.Tensor) -> np.ndarray:
    array = planar.double().numpy()
    return array[..., 0, :] + 1j * array[..., 1, :]


def phases_of(shifts: Shifts) -> np.ndarray:
    """(t, 4, n) factors of a Fourier transform that move an image by each vector."""
    k = np.stack((shifts.kx.numpy(), shifts.ky.numpy()))
    return np.exp(-2j * np.pi * (shifts.px.double().numpy() @ k) / shifts.box_px)


@pytest.mark.parametrize("cross_correlation", [False, True])
@pytest.mark.parametrize("children", [8, 4, 1, 6])
@pytest.mark.parametrize("n", [1, 5, 16, 37, 200])
def test_scores_are_inner_products_less_power_plus_prior(n, children, cross_correlation, real):
    image, power, shifts, slices = problem(n, children, real)
    pairs = sorted_pairs(25)
    prior = draw(25, seed=5, dtype=real)
    found = score_pairs(pairs, image, power, shifts, slices, prior, cross_correlation)
    x, f, s, w = as_complex(image), phases_of(shifts), as_complex(slices), power.double().numpy()
    assert found.shape == (25, 4, children)
    for p, (i, t, u) in enumerate(listed(pairs)):
        for j in range(4):
            for c in range(children):
                cross = (np.conj(x[i] * f[t, j]) * s[u, c]).sum().real
                square = (w[i] * abs(s[u, c]) ** 2).sum()
                if cross_correlation:
                    expected, size = cross / np.sqrt(2 * square), np.linalg.norm(x[i]) / np.sqrt(w[i].min())
                else:
                    expected = cross - square + float(prior[p])
                    size = np.linalg.norm(x[i] * f[t, j]) * np.linalg.norm(s[u, c]) + square + 1
                assert abs(float(found[p, j, c]) - expected) < 10 * torch.finfo(real).eps * size


def test_no_pair_has_no_score(real):
    image, power, shifts, slices = problem(9, 8, real)
    assert score_pairs(sorted_pairs(0), image, power, shifts, slices, draw(0, seed=1, dtype=real), False).shape == (
        0,
        4,
        8,
    )


def empty_sums(n: int, children: int, dtype: torch.dtype) -> WeightedSums:
    rows = U * children
    return WeightedSums(*(torch.zeros(shape, dtype=dtype) for shape in ((rows, 2, n), (rows, n), (B, 2, n), (B, n))))


def some_weights(count: int, children: int, dtype: torch.dtype) -> torch.Tensor:
    """Posterior weights, most of them zero, as after a cut."""
    rng = np.random.default_rng(6)
    weight = rng.random((count, 4, children)) * (rng.random((count, 4, children)) < 0.3)
    return torch.from_numpy(weight).to(dtype)


@pytest.mark.parametrize("children", [8, 1, 6])
@pytest.mark.parametrize("n", [1, 16, 37])
def test_sums_are_those_of_every_sample_alone(n, children, real):
    image, power, shifts, slices = problem(n, children, real)
    pairs, weight, sums = sorted_pairs(30), some_weights(30, children, real), empty_sums(n, children, real)
    accumulate_pairs(pairs, weight, image, power, shifts, slices, sums)
    x, f, s = as_complex(image), phases_of(shifts), as_complex(slices).reshape(U * children, n)
    c, w = power.double().numpy(), weight.double().numpy()
    data, total = np.zeros((U * children, n), complex), np.zeros((U * children, n))
    mean, square = np.zeros((B, n), complex), np.zeros((B, n))
    for p, (i, t, u) in enumerate(listed(pairs)):
        for j in range(4):
            for child in range(children):
                row = u * children + child
                data[row] += w[p, j, child] * f[t, j] * x[i]
                total[row] += w[p, j, child] * c[i]
                mean[i] += w[p, j, child] * np.conj(f[t, j]) * s[row]
                square[i] += w[p, j, child] * abs(s[row]) ** 2
    for found, expected in ((sums.data, data), (sums.mean, mean)):
        assert abs(as_complex(found) - expected).max() < 20 * torch.finfo(real).eps * abs(expected).max()
    for found, expected in ((sums.weight, total), (sums.square, square)):
        assert abs(found.double().numpy() - expected).max() < 20 * torch.finfo(real).eps * abs(expected).max()


def test_sums_are_added_to_what_is_there(real):
    """Two parts of the pairs, cut between images, add up to the whole."""
    image, power, shifts, slices = problem(12, 8, real)
    pairs, weight = sorted_pairs(30), some_weights(30, 8, real)
    middle = int(torch.searchsorted(pairs.image, torch.tensor(2)))
    whole, parts = empty_sums(12, 8, real), empty_sums(12, 8, real)
    accumulate_pairs(pairs, weight, image, power, shifts, slices, whole)
    for begin, end in ((0, middle), (middle, middle), (middle, 30)):
        accumulate_pairs(pairs.part(begin, end, 0), weight[begin:end], image, power, shifts, slices, parts)
    for name in ("data", "weight", "mean", "square"):
        one, two = getattr(whole, name), getattr(parts, name)
        assert (one - two).abs().max() < 20 * torch.finfo(real).eps * one.abs().max()


def test_accumulation_is_the_transpose_of_scoring(real):
    """<w, scores(X)> without power and prior = <data(w), slices>: the same inner products, summed in two ways."""
    image, power, shifts, slices = problem(20, 8, real)
    pairs, sums = sorted_pairs(40), empty_sums(20, 8, real)
    scores = score_pairs(pairs, image, 0 * power, shifts, slices, torch.zeros(40, dtype=real), False)
    weight = some_weights(40, 8, real) + scores.clamp_min(0)  # not by chance orthogonal to the scores
    accumulate_pairs(pairs, weight, image, power, shifts, slices, sums)
    left = (scores.double() * weight.double()).sum()
    through_data = (sums.data.double() * slices.flatten(0, 1).double()).sum()
    through_mean = (sums.mean.double() * image.double()).sum()
    scale = scores.double().norm() * weight.double().norm()
    assert (left - through_data).abs() < 10 * torch.finfo(real).eps * scale
    assert (left - through_mean).abs() < 10 * torch.finfo(real).eps * scale


def test_chunks_of_the_torch_twins_change_nothing(monkeypatch):
    image, power, shifts, slices = problem(10, 8, torch.float64)
    pairs, weight, prior = sorted_pairs(33), some_weights(33, 8, torch.float64), torch.zeros(33, dtype=torch.float64)

    def compute():
        sums = empty_sums(10, 8, torch.float64)
        accumulate_pairs(pairs, weight, image, power, shifts, slices, sums)
        return score_pairs(pairs, image, power, shifts, slices, prior, False), sums.data, sums.mean

    whole = compute()
    for module in (score, accumulate):
        monkeypatch.setattr(module, "FLOATS_PER_CHUNK", 2 * 2 * 10 * 8 + 1)  # two pairs at a time
    for one, two in zip(whole, compute(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-13)


def test_compiled_and_torch_kernels_agree(both_kernels):
    image, power, shifts, slices = problem(150, 8, torch.float32)
    pairs, weight, prior = sorted_pairs(50), some_weights(50, 8, torch.float32), draw(50, seed=9, dtype=torch.float32)

    def compute():
        sums = empty_sums(150, 8, torch.float32)
        accumulate_pairs(pairs, weight, image, power, shifts, slices, sums)
        scores = [score_pairs(pairs, image, power, shifts, slices, prior, cc) for cc in (False, True)]
        return *scores, sums.data, sums.weight, sums.mean, sums.square

    for compiled, plain in zip(*both_kernels(compute), strict=True):
        assert (compiled - plain).abs().max() < 20 * torch.finfo(torch.float32).eps * plain.abs().max()
        assert plain.abs().max() > 0


def test_pairs_of_a_part_count_their_own_orientations():
    pairs = sorted_pairs(20)
    part = pairs.part(4, 9, 1)
    assert len(part) == 5
    assert torch.equal(part.orientation, pairs.orientation[4:9] - 1)
    assert torch.equal(part.image, pairs.image[4:9])
    assert torch.equal(part.shift, pairs.shift[4:9])


def test_the_correlation_of_an_image_with_itself_is_its_norm():
    """cross = |x|^2, power = |x|^2 / 2: x . x / |x|; and an empty slice correlates with nothing."""
    cross, power = torch.tensor([[[9.0, 0.0]]]), torch.tensor([[4.5, 0.0]])
    assert combine(cross, power, True).tolist() == [[[3.0, 0.0]]]
    assert combine(cross, power, False).tolist() == [[[4.5, 0.0]]]
