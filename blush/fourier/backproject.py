"""Insertion of slices into the padded Fourier sphere: the adjoint of `project`, with CTF^2 weights beside."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.packed import Packed
from blush.fourier.transform import PADDING, sphere_k2, sphere_radius
from blush.kernels import insert as inserting
from blush.kernels import native
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners


@dataclass(frozen=True)
class Accumulator:
    """Data and weight sums D, W (docs/algorithm.md, section 5) on the cells of a padded sphere.

    Attributes
    ----------
    grid
        (d, d, h, 4): real and imaginary part of D, then W; the fourth channel is unused padding.
    """

    grid: Tensor
    box_px: int
    r_max: int
    pad: int = PADDING

    @property
    def radius(self) -> int:
        """Array radius r: d = 2 r + 1."""
        return (self.grid.shape[0] - 1) // 2

    @property
    def data(self) -> Tensor:
        """D, (d, d, h) complex."""
        return torch.view_as_complex(self.grid[..., :2].contiguous())

    @property
    def weight(self) -> Tensor:
        """W, (d, d, h) real."""
        return self.grid[..., 2]


def empty_accumulator(
    box_px: int,
    r_max: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    pad: int = PADDING,
) -> Accumulator:
    """Zero sums for images of `box_px` pixels, cut at shell `r_max`."""
    r = sphere_radius(r_max, pad)
    return Accumulator(torch.zeros(2 * r + 1, 2 * r + 1, r + 1, 4, dtype=dtype, device=device), box_px, r_max, pad)


def insert(sums: Accumulator, rotations: Tensor, data: Tensor, weight: Tensor, pixels: Packed) -> None:
    """Add slices to `sums` in place (it is the one argument that changes).

    Parameters
    ----------
    rotations
        (r, 3, 3), volume to image.
    data
        (r, 2, p) planar complex slices; the first p packed pixels, |k| <= r_max.
    weight
        (r, p) real.
    """
    grid, n = sums.grid, data.shape[-1]
    matrices = rotations.to(device=grid.device, dtype=grid.dtype)
    inserting.insert(grid, matrices, pixels.kx[:n], pixels.ky[:n], sums.pad, data, weight)


def hermitian(sums: Accumulator) -> Accumulator:
    """Sum the two halves of the x = 0 plane into each other (conjugated), the origin once.

    See docs/algorithm.md, section 5.
    """
    grid = sums.grid.clone()
    plane = grid[:, :, 0].clone()
    mirror = plane.flip(0, 1)
    mirror[..., 1] *= -1
    grid[:, :, 0] = plane + mirror
    r = sums.radius
    grid[r, r, 0] = plane[r, r]
    return Accumulator(grid, sums.box_px, sums.r_max, sums.pad)


def trim(sums: Accumulator) -> Accumulator:
    """Zero beyond |k| = pad r_max: those cells were only trilinear neighbours of the rim."""
    outside = sphere_k2(sums.radius, sums.grid.device) > (sums.pad * sums.r_max) ** 2
    return Accumulator(sums.grid.masked_fill(outside[..., None], 0), sums.box_px, sums.r_max, sums.pad)


def symmetrise(sums: Accumulator, operators: Tensor) -> Accumulator:
    """Sum of D and W rotated by every operator of a point group, identity first (docs/algorithm.md, section 5).

    Parameters
    ----------
    operators
        (n, 3, 3) rotations; the first must be the identity.
    """
    if not torch.allclose(operators[0], torch.eye(3, dtype=operators.dtype, device=operators.device)):
        raise ValueError("the first symmetry operator must be the identity")
    out = sums.grid.clone()
    for operator in operators[1:]:
        rotate_add(sums, out, operator)
    return Accumulator(out, sums.box_px, sums.r_max, sums.pad)


def rotate_add(sums: Accumulator, out: Tensor, operator: Tensor) -> None:
    """Add to the cells of `out`, in place, what `sums` holds at the rotated frequencies: out(k) += sums(S k).

    Parameters
    ----------
    out
        (d, d, h, 4) as `sums.grid`.
    operator
        (3, 3) rotation S.
    """
    matrix = operator.to(device=out.device, dtype=out.dtype).contiguous()
    if native.usable(out):
        rim = float(sums.pad * sums.r_max)
        native.call("rotate_add", sums.grid.contiguous(), out, sums.radius, rim, matrix)
    else:
        _rotate_add_torch(sums, out, matrix)


def _rotate_add_torch(sums: Accumulator, out: Tensor, matrix: Tensor) -> None:
    r = sums.radius
    d, h = 2 * r + 1, r + 1
    cells = torch.nonzero((sphere_k2(r, out.device) <= (sums.pad * sums.r_max) ** 2).flatten()).squeeze(1)
    source, target = sums.grid.view(-1, 4), out.view(-1, 4)
    for begin in range(0, math.prod(cells.shape), SAMPLES_PER_CHUNK):
        cell = cells[begin : begin + SAMPLES_PER_CHUNK]
        k = torch.stack((cell % h, (cell // h) % d - r, cell // (h * d) - r)).to(out.dtype)
        point = matrix @ k
        sign = torch.where(point[0] < 0, -1.0, 1.0).to(out.dtype)
        point = point * sign
        floor = torch.floor(point)
        x, y, z = floor.long()
        corner = ((z + r) * d + y + r) * h + x
        total = torch.zeros(len(cell), 4, dtype=out.dtype, device=out.device)
        for offset, weight in corners(point - floor, r):
            total += source[corner + offset] * weight[:, None]
        total[:, 1] *= sign
        target.index_add_(0, cell, total)
