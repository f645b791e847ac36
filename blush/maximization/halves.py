"""Where the two half-sets meet: the lowest resolutions, the FSC and the final sum. Nowhere else."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.transform import sphere_k2
from blush.maximization.cells import Cells, CellSums

PLANES_AT_ONCE = 16
"""Planes of the padded sphere downsampled at once: all together they would take as much memory as both halves."""


def join_shell(box_px: int, pixel_size_angst: float, join_angst: float, resolution_angst: float) -> int:
    """Last shell in which both halves use their common average (docs/algorithm.md, section 5)."""
    return math.ceil(box_px * pixel_size_angst / max(join_angst, resolution_angst))


def join_low_resolution(first: Accumulator, second: Accumulator, shell: int) -> tuple[Accumulator, Accumulator]:
    """Replace D and W of both halves by their average for |k| <= shell, which keeps their poses in one frame."""
    inside = _is_joined(first, shell)
    average = (first.grid + second.grid) / 2
    joined = (torch.where(inside[..., None], average, half.grid) for half in (first, second))
    one, two = (Accumulator(grid, first.box_px, first.r_max, first.pad) for grid in joined)
    return one, two


def shared_part(sums: Accumulator, shell: int) -> Accumulator:
    """The cells that `join_low_resolution` joins, and nothing else."""
    return Accumulator(sums.grid * _is_joined(sums, shell)[..., None], sums.box_px, sums.r_max, sums.pad)


def _is_joined(sums: Accumulator, shell: int) -> Tensor:
    """(d, d, h) bool: cells with |k| <= shell."""
    return sphere_k2(sums.radius, sums.grid.device) <= (sums.pad * shell) ** 2


def add_halves(first: Accumulator, second: Accumulator) -> Accumulator:
    """Sums over all particles."""
    return Accumulator(first.grid + second.grid, first.box_px, first.r_max, first.pad)


def _downsampled(sums: Accumulator) -> Tensor:
    """D and W on the unpadded grid, (cells, 3) float64: cells are summed into their nearest unpadded neighbour."""
    r, rim = sums.radius, sums.r_max + 1
    axis = torch.arange(-r, r + 1, device=sums.grid.device)
    near = (torch.sign(axis) * ((axis.abs() / sums.pad + 0.5).floor())).long().clamp(-rim, rim)
    d, h = 2 * rim + 1, rim + 1
    grid = torch.zeros(d * d * h, 4, dtype=torch.float64, device=sums.grid.device)
    k2 = sphere_k2(r, sums.grid.device)
    for first in range(0, len(near), PLANES_AT_ONCE):
        part = slice(first, first + PLANES_AT_ONCE)
        inside = k2[part] <= (sums.pad * sums.r_max) ** 2
        target = ((near[part, None, None] + rim) * d + near[:, None] + rim) * h + near[r:]
        values = sums.grid[part].double().masked_fill(~inside[..., None], 0)
        grid.index_add_(0, target.flatten(), values.flatten(0, 2))
    return grid[:, :3]


def near_sums(sums: CellSums) -> Tensor:
    """D and W on the unpadded grid, (cells, 3) float64: cells are summed into their nearest unpadded neighbour."""
    rim = sums.cells.r_max + 1
    out = torch.zeros(3, (2 * rim + 1) ** 2 * (rim + 1), dtype=torch.float64, device=sums.weight.device)
    parts = torch.view_as_real(sums.data).double().unbind(1)
    for total, part in zip(out, (*parts, sums.weight.double()), strict=True):
        total.index_add_(0, sums.cells.near, part)
    return out.T


def _ratio(near: Tensor, r_max: int) -> tuple[Tensor, Tensor]:
    """D/W on the unpadded grid, and its shells."""
    rim, weight = r_max + 1, near[:, 2]
    ratio = torch.view_as_complex(near[:, :2].contiguous()) / weight.clamp_min(torch.finfo(torch.float64).tiny)
    k2 = sphere_k2(rim, near.device)
    # Cells beyond r_max itself belong to no shell, not to the last one that they round to (RELION 3.1.3 does so).
    shell = torch.where(k2 > r_max**2, rim, (k2.double().sqrt() + 0.5).floor().long()).flatten()
    return torch.where(weight > 0, ratio, torch.zeros_like(ratio)), shell


def half_sum_fsc(first: Accumulator, second: Accumulator) -> NDArray[np.float64]:
    """FSC of two half-sets straight from D and W, before any regularisation or mask (docs/algorithm.md, section 5).

    Returns
    -------
    (N/2 + 1,); 1 at the origin, 0 beyond r_max.
    """
    return _fsc(_downsampled(first), _downsampled(second), first.r_max, first.box_px)


def fsc_of_near(cells: Cells, first: Tensor, second: Tensor) -> NDArray[np.float64]:
    """The same of what `near_sums` gives of two half-sets on some cells."""
    return _fsc(first, second, cells.r_max, cells.box_px)


def _fsc(first: Tensor, second: Tensor, r_max: int, box_px: int) -> NDArray[np.float64]:
    (a, shell), (b, _) = _ratio(first, r_max), _ratio(second, r_max)
    n = r_max + 1

    def total(values: Tensor) -> Tensor:
        out = torch.zeros(r_max + 2, dtype=torch.float64, device=values.device)
        return out.index_add_(0, shell, values)[:n]

    cross, power = total((a * b.conj()).real), total(a.abs().square()) * total(b.abs().square())
    out = np.zeros(box_px // 2 + 1)
    out[:n] = (cross / power.sqrt().clamp_min(torch.finfo(torch.float64).tiny)).cpu().numpy()
    out[0] = 1.0
    return out
