"""Data and weight sums of a padded sphere in whole numbers: the same bytes in any order of slices.

What may be added is bounded when the sums are made, and counted as it is added; sums that were given more say so when
they are read, so that no number ever overflows unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator, empty_accumulator, insert
from blush.fourier.packed import Packed
from blush.fourier.transform import PADDING, sphere_radius
from blush.kernels.insert_fixed import BITS, insert_fixed, most_shares

PARTS = 16
"""In which sums become floating-point numbers, by way of double precision."""
LEAST_BOUND, LARGEST_BOUND = 2.0**-60, 2.0**120


@dataclass(frozen=True)
class FixedSums:
    """D and W (docs/algorithm.md, section 5) on the cells of a padded sphere, as integers.

    Attributes
    ----------
    grid
        (d, d, h, 3) int64: real and imaginary part of D in units of 1 / `per_data`, W in units of 1 / `per_weight`.
    bounds
        (2,) float64, on the host: what the largest absolute values of all slices of data, and of weight, add up to at
        most.
    given
        (2,) float64: what they added up to until now.
    """

    grid: Tensor
    box_px: int
    r_max: int
    pad: int
    per_data: float
    per_weight: float
    bounds: Tensor
    given: Tensor


def empty_fixed_sums(
    box_px: int, r_max: int, data_bound: float, weight_bound: float, *, device: torch.device | str = "cpu",
    pad: int = PADDING,
) -> FixedSums:  # fmt: skip
    """Zero sums for images of `box_px` pixels, cut at shell `r_max`: 24 bytes for each of (2 r + 1)^2 (r + 1) cells.

    Parameters
    ----------
    data_bound, weight_bound
        What the largest absolute values of all slices add up to at most: for n images whose posterior weights add up
        to one, n times the largest value of an image.

    Raises
    ------
    ValueError
        If a bound leaves no scale that single precision can hold.
    """
    if not all(LEAST_BOUND < bound < LARGEST_BOUND for bound in (data_bound, weight_bound)):
        raise ValueError(
            f"sums are bounded by {data_bound} and {weight_bound}; both must lie between {LEAST_BOUND:g} and "
            f"{LARGEST_BOUND:g}, for which single precision has scales"
        )
    r = sphere_radius(r_max, pad)
    bounds = torch.tensor([data_bound, weight_bound], dtype=torch.float64)
    grid = torch.zeros(2 * r + 1, 2 * r + 1, r + 1, 3, dtype=torch.int64, device=device)
    per_data, per_weight = (
        2.0 ** (BITS - math.ceil(math.log2(most_shares(pad) * bound))) for bound in (data_bound, weight_bound)
    )
    return FixedSums(grid, box_px, r_max, pad, per_data, per_weight, bounds, torch.zeros_like(bounds, device=device))


def add_slices(sums: Accumulator | FixedSums, rotations: Tensor, data: Tensor, weight: Tensor, pixels: Packed) -> None:
    """Add slices to `sums` in place, as `insert` does."""
    if isinstance(sums, Accumulator):
        insert(sums, rotations, data, weight, pixels)
        return
    n = data.shape[-1]
    largest = (  # without a copy of their size, as abs() would make
        torch.linalg.vector_norm(data, torch.inf, (1, 2)).double().sum(),
        torch.linalg.vector_norm(weight, torch.inf, 1).double().sum(),
    )
    sums.given.add_(torch.stack(largest))
    matrices = rotations.to(device=data.device, dtype=data.dtype)
    insert_fixed(
        sums.grid, matrices, pixels.kx[:n], pixels.ky[:n], sums.pad, data, weight, sums.per_data, sums.per_weight
    )


def as_accumulator(sums: FixedSums, dtype: torch.dtype) -> Accumulator:
    """The sums as floating-point numbers.

    Raises
    ------
    OverflowError
        If more was added than was allowed for, or something that is no number.
    """
    given = sums.given.cpu()
    if not bool((given <= sums.bounds).all()):
        raise OverflowError(
            f"slices add up to {given.tolist()} (data, weight), where {sums.bounds.tolist()} was allowed for"
        )
    out = empty_accumulator(sums.box_px, sums.r_max, dtype=dtype, device=sums.grid.device, pad=sums.pad)
    for whole, real in zip(sums.grid.chunk(PARTS), out.grid.chunk(PARTS), strict=True):
        real[..., :2] = whole[..., :2].double() / sums.per_data
        real[..., 2] = whole[..., 2].double() / sums.per_weight
    return out
