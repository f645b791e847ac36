"""Triton kernels of `accumulate`: a program sums some pixels of one slice, or of one image, over its pairs.

Nothing is added by two programs, so there are no atomic operations, and the sums run in the order of the pairs.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from blush.kernels.shifts import tables_made_once
from blush.kernels.triton_score import phase

PIXELS = 128


@triton.jit
def filter_of(
    weight, pair, along_x, along_y, shift, kx, ky, inside, child, children,
    HALF: tl.constexpr, CHILDREN: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """F (children, pixels), the sum over a pair's shifts of weight times phase, and the sums of weights (children,)."""
    fr = tl.zeros((CHILDREN, PIXELS), tl.float32)
    fi = tl.zeros((CHILDREN, PIXELS), tl.float32)
    total = tl.zeros((CHILDREN,), tl.float32)
    for j in tl.static_range(4):
        w = tl.load(weight + (4 * pair + j) * children + child, child < children, 0)
        pr, pi = phase(along_x, along_y, 4 * shift + j, kx, ky, inside, HALF)
        fr += w[:, None] * pr[None, :]
        fi += w[:, None] * pi[None, :]
        total += w
    return fr, fi, total


@triton.jit
def weighed(weight, pair, children, CHILDREN: tl.constexpr):
    """Sum of a pair's weights: most pairs have none."""
    j = tl.arange(0, 4 * CHILDREN)
    return tl.sum(tl.load(weight + 4 * pair * children + j, j < 4 * children, 0), 0)


@triton.jit
def slice_kernel(
    weight, image, power, along_x, along_y, kx, ky, pair_image, pair_shift, order, edges, data_sum, weight_sum,
    n, children, HALF: tl.constexpr, CHILDREN: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Add to data_sum (u, children, 2, n) and weight_sum (u, children, n) the pairs order[edges[u] : edges[u + 1]]."""
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = k < n
    child = tl.arange(0, CHILDREN)
    x, y = tl.load(kx + k, inside, 0), tl.load(ky + k, inside, 0)
    re = tl.zeros((CHILDREN, PIXELS), tl.float32)
    im = tl.zeros((CHILDREN, PIXELS), tl.float32)
    ctf2 = tl.zeros((CHILDREN, PIXELS), tl.float32)
    for place in range(tl.load(edges + row), tl.load(edges + row + 1)):
        pair = tl.load(order + place)
        if weighed(weight, pair, children, CHILDREN) != 0:
            i, shift = tl.load(pair_image + pair), tl.load(pair_shift + pair)
            fr, fi, total = filter_of(
                weight, pair, along_x, along_y, shift, x, y, inside, child, children, HALF, CHILDREN, PIXELS
            )
            xr = tl.load(image + i * 2 * n + k, inside, 0)[None, :]
            xi = tl.load(image + i * 2 * n + n + k, inside, 0)[None, :]
            re += fr * xr - fi * xi
            im += fr * xi + fi * xr
            ctf2 += total[:, None] * tl.load(power + i * n + k, inside, 0)[None, :]
    both = (child < children)[:, None] & inside[None, :]
    first = (row * children + child)[:, None]
    out = data_sum + first * 2 * n + k[None, :]
    tl.store(out, tl.load(out, both, 0) + re, both)
    tl.store(out + n, tl.load(out + n, both, 0) + im, both)
    out = weight_sum + first * n + k[None, :]
    tl.store(out, tl.load(out, both, 0) + ctf2, both)


@triton.jit
def image_kernel(
    weight, slices, along_x, along_y, kx, ky, pair_shift, pair_row, edges, mean, square,
    n, children, HALF: tl.constexpr, CHILDREN: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Add to mean (b, 2, n) and square (b, n) the pairs edges[i] to edges[i + 1] of image i."""
    i = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = k < n
    child = tl.arange(0, CHILDREN)
    both = (child < children)[:, None] & inside[None, :]
    x, y = tl.load(kx + k, inside, 0), tl.load(ky + k, inside, 0)
    re = tl.zeros((CHILDREN, PIXELS), tl.float32)
    im = tl.zeros((CHILDREN, PIXELS), tl.float32)
    power = tl.zeros((CHILDREN, PIXELS), tl.float32)
    for pair in range(tl.load(edges + i), tl.load(edges + i + 1)):
        if weighed(weight, pair, children, CHILDREN) != 0:
            row, shift = tl.load(pair_row + pair), tl.load(pair_shift + pair)
            fr, fi, total = filter_of(
                weight, pair, along_x, along_y, shift, x, y, inside, child, children, HALF, CHILDREN, PIXELS
            )
            place = slices + (row * children + child)[:, None] * 2 * n + k[None, :]
            sr, si = tl.load(place, both, 0), tl.load(place + n, both, 0)
            re += fr * sr + fi * si
            im += fr * si - fi * sr
            power += total[:, None] * (sr * sr + si * si)
    out = mean + i * 2 * n + k
    tl.store(out, tl.load(out, inside, 0) + tl.sum(re, 0), inside)
    tl.store(out + n, tl.load(out + n, inside, 0) + tl.sum(im, 0), inside)
    out = square + i * n + k
    tl.store(out, tl.load(out, inside, 0) + tl.sum(power, 0), inside)


def launch(
    weight: Tensor, image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor,
    box_px: int, pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, data_sum: Tensor, weight_sum: Tensor,
    mean: Tensor, square: Tensor,
) -> None:  # fmt: skip
    """Add to the four sums of `accumulate` in place."""
    if not len(pair_image):
        return
    tables = tables_made_once(shift_px, box_px, image.dtype)
    n, (rows, children) = len(kx), slices.shape[:2]
    weight, kx, ky = weight.contiguous(), kx.contiguous(), ky.contiguous()
    pair_image, pair_shift, pair_row = pair_image.contiguous(), pair_shift.contiguous(), pair_row.contiguous()
    by_row, order = torch.sort(pair_row, stable=True)
    shapes = (n, children, box_px // 2, triton.next_power_of_2(children), PIXELS)
    blocks = triton.cdiv(n, PIXELS)
    slice_kernel[(rows, blocks)](
        weight, image.contiguous(), power.contiguous(), *tables, kx, ky, pair_image, pair_shift, order,
        _edges(by_row, rows), data_sum, weight_sum, *shapes, enable_fp_fusion=True,
    )  # fmt: skip
    image_kernel[(len(image), blocks)](
        weight, slices.contiguous(), *tables, kx, ky, pair_shift, pair_row, _edges(pair_image, len(image)), mean,
        square, *shapes, enable_fp_fusion=True,
    )  # fmt: skip


def _edges(ascending: Tensor, count: int) -> Tensor:
    """First place of each of `count` numbers in an ascending list of them, and the end."""
    return torch.searchsorted(ascending, torch.arange(count + 1, device=ascending.device))
