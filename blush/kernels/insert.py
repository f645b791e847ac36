"""Operator `insert`: slices added to the cells of a padded sphere, the adjoint of `project`."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.kernels import native
from blush.kernels.operator import register
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners, taps


def insert_reference(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor
) -> None:
    """The operator in plain torch, on any device and in either precision."""
    radius, flat = grid.shape[2] - 1, grid.view(-1, 4)
    x, y = kx.to(grid.dtype), ky.to(grid.dtype)
    step = max(1, SAMPLES_PER_CHUNK // max(1, len(kx)))
    for begin in range(0, len(matrices), step):
        rows = slice(begin, begin + step)
        corner, fraction, sign = taps(matrices[rows], x, y, radius, pad)
        values = torch.stack((data[rows, 0], data[rows, 1] * sign, weight[rows], torch.zeros_like(sign)), dim=-1)
        for offset, share in corners(fraction, radius):
            flat.index_add_(0, (corner + offset).flatten(), (values * share[..., None]).reshape(-1, 4))


def insert(grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor) -> None:
    """Add slices to `grid` in place, with trilinear weights.

    Parameters
    ----------
    grid
        (d, d, h, 4): real and imaginary part of the data, the weight, and a channel that is not used.
    matrices
        (r, 3, 3) of the type of `grid`, volume to image.
    kx, ky, pad
        As `project` takes them.
    data, weight
        (r, 2, n) planar slices and (r, n).
    """
    _operator(grid, matrices, kx, ky, pad, data, weight)


def _fake(grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor) -> None:
    pass


def _cpu(grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor) -> None:
    if not native.usable(grid, data, weight):
        insert_reference(grid, matrices, kx, ky, pad, data, weight)
        return
    native.call(
        "insert", grid, grid.shape[2] - 1, float(pad), matrices.contiguous(), len(matrices), kx.to(grid.dtype),
        ky.to(grid.dtype), len(kx), data.contiguous(), weight.contiguous(),
    )  # fmt: skip


_operator = register("insert", insert_reference, cpu=_cpu, fake=_fake, changed=("grid",))
