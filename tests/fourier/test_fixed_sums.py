"""Sums in whole numbers: against floating-point sums, in any order, and up to their bounds."""

import math

import pytest
import torch

from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.fixed_sums import FixedSums, add_slices, as_accumulator, empty_fixed_sums
from blush.fourier.packed import packed
from blush.geometry.rotation import matrix_from_euler

BOX, R_MAX, ROWS = 16, 7, 40
PIXELS = packed(BOX)
N = PIXELS.inside(R_MAX)


def slices(seed: int = 1, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    euler = 360 * torch.rand(ROWS, 3, generator=generator, dtype=torch.float64)
    data = torch.randn(ROWS, 2, N, generator=generator, dtype=torch.float64)
    return matrix_from_euler(euler), data.to(dtype), torch.rand(ROWS, N, generator=generator).to(dtype)


def fixed(data_bound: float = 1e3, weight_bound: float = 1e3, pad: int = 2) -> FixedSums:
    return empty_fixed_sums(BOX, R_MAX, data_bound, weight_bound, pad=pad)


def values(sums: FixedSums) -> torch.Tensor:
    return as_accumulator(sums, torch.float64).grid[..., :3]


@pytest.mark.parametrize("pad", [1, 2])
def test_sums_are_those_of_double_precision(pad, real):
    rotations, data, weight = slices(dtype=real)
    sums, expected = fixed(pad=pad), empty_accumulator(BOX, R_MAX, dtype=torch.float64, pad=pad)
    add_slices(sums, rotations, data, weight, PIXELS)
    insert(expected, rotations, data.double(), weight.double(), PIXELS)
    largest = expected.grid.abs().max()
    assert (values(sums) - expected.grid[..., :3]).abs().max() < 1e-6 * largest


def test_any_order_and_any_parts_give_the_same_bytes():
    rotations, data, weight = slices()
    whole = fixed()
    add_slices(whole, rotations, data, weight, PIXELS)
    for seed in range(3):
        order, parts = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed)), fixed()
        for part in order.split(7 + seed):
            add_slices(parts, rotations[part], data[part], weight[part], PIXELS)
        assert torch.equal(parts.grid, whole.grid)


def test_what_was_added_is_counted_and_more_than_was_allowed_is_refused():
    rotations, data, weight = slices()
    for bounds, fits in (((1e3, 1e3), True), ((20, 1e3), False), ((1e3, 10), False)):
        sums = fixed(*bounds)
        add_slices(sums, rotations, data, weight, PIXELS)
        if fits:
            assert sums.given[0] == pytest.approx(float(data.abs().amax((1, 2)).double().sum()), rel=1e-12)
            as_accumulator(sums, torch.float32)
        else:
            with pytest.raises(OverflowError, match=r"slices add up to .* was allowed for"):
                as_accumulator(sums, torch.float32)


def test_what_is_no_number_is_refused():
    rotations, data, weight = slices()
    data[3, 1, 5] = torch.nan
    sums = fixed()
    add_slices(sums, rotations, data, weight, PIXELS)
    with pytest.raises(OverflowError, match="nan"):
        as_accumulator(sums, torch.float32)


@pytest.mark.parametrize("bound", [0.0, -1.0, math.inf, math.nan, 1e-30, 1e60])
def test_bounds_that_leave_no_scale_are_refused(bound):
    for bounds in ((bound, 1.0), (1.0, bound)):
        with pytest.raises(ValueError, match="sums are bounded by"):
            fixed(*bounds)


@pytest.mark.parametrize("pad", [1, 2])
def test_sums_at_their_bounds_do_not_overflow(pad):
    """Slices of nothing but the largest value, at orientations whose pixels fall on cells and where they meet."""
    generator = torch.Generator().manual_seed(4)
    euler = torch.cat((torch.zeros(1, 3), torch.tensor([[0.0, 45.0, 0.0], [45.0, 54.7356, 0.0]]),
                       360 * torch.rand(200, 3, generator=generator)))  # fmt: skip
    ones = torch.ones(1, 2, N, dtype=torch.float64)
    for rotation in matrix_from_euler(euler.double())[:, None]:
        sums = fixed(3.0, 3.0, pad)
        for _ in range(3):
            add_slices(sums, rotation, ones, ones[:, 0], PIXELS)
        assert (sums.given == sums.bounds).all()
        expected = empty_accumulator(BOX, R_MAX, dtype=torch.float64, pad=pad)
        insert(expected, rotation, 3 * ones, 3 * ones[:, 0], PIXELS)
        assert (values(sums) - expected.grid[..., :3]).abs().max() < 1e-12
        assert expected.grid.abs().max() < (4 if pad == 2 else 12) * 3.0  # the shares that the scale has room for
