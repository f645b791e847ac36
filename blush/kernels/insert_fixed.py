"""Operator `insert_fixed`: `insert` in whole numbers of 64 bits, whose sum has the same bytes in any order.

A pixel's share of a cell is multiplied by a power of two and rounded; what is added is an integer, and integers may be
added in any order. What may be added is bounded: the largest values of all slices, summed, times `most_shares`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blush.kernels import device
from blush.kernels.operator import register
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners, taps

BITS = 62
"""Of the 63 of a number, those that values may take; the last is for the halves by which they are rounded."""


def insert_fixed_reference(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor, per_data: float,
    per_weight: float,
) -> None:  # fmt: skip
    """The operator in plain torch, on any device and in either precision."""
    radius, flat = grid.shape[2] - 1, grid.view(-1, 3)
    x, y = kx.to(data.dtype), ky.to(data.dtype)
    step = max(1, SAMPLES_PER_CHUNK // max(1, len(kx)))
    for begin in range(0, len(matrices), step):
        rows = slice(begin, begin + step)
        corner, fraction, sign = taps(matrices[rows], x, y, radius, pad)
        channels = (data[rows, 0] * per_data, data[rows, 1] * sign * per_data, weight[rows] * per_weight)
        values = torch.stack(channels, dim=-1)
        for offset, share in corners(fraction, radius):
            parts = (values * share[..., None]).reshape(-1, 3)
            flat.index_add_(0, (corner + offset).flatten(), torch.floor(parts + 0.5).long())


def most_shares(pad: int) -> int:
    """What the shares of one slice's pixels in one cell add up to at most.

    Each is 1 at most, and only pixels less than sqrt(3) cells from a cell have one. A cell sees each frequency of the
    full plane once at most, as it is or reflected; they lie `pad` cells apart, and no circle of that radius holds more
    than twelve that lie one cell apart, or four that lie two.
    """
    return 12 if pad < 2 else 4


def insert_fixed(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor, per_data: float,
    per_weight: float,
) -> None:  # fmt: skip
    """Add slices to `grid` in place, with trilinear weights.

    Parameters
    ----------
    grid
        (d, d, h, 3) int64: real and imaginary part of the data, in units of 1 / `per_data`, and the weight.
    matrices, kx, ky, pad, data, weight
        As `insert` takes them.
    per_data, per_weight
        Powers of two.
    """
    _operator(grid, matrices, kx, ky, pad, data, weight, per_data, per_weight)


def _fake(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor, per_data: float,
    per_weight: float,
) -> None:  # fmt: skip
    pass


def _cuda(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor, per_data: float,
    per_weight: float,
) -> None:  # fmt: skip
    if not device.triton_serves(data, weight):
        insert_fixed_reference(grid, matrices, kx, ky, pad, data, weight, per_data, per_weight)
        return
    from blush.kernels.triton_insert import launch

    with torch.cuda.device(data.device):  # where triton launches
        launch(grid, matrices, kx, ky, pad, data, weight, per_data, per_weight)


_operator = register(
    "insert_fixed", insert_fixed_reference, cpu=insert_fixed_reference, fake=_fake, cuda=_cuda, changed=("grid",)
)
