"""Triton kernel of `score`: a program compares all children of one pair, pixels by pixels, in registers."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from blush.kernels.shifts import tables_made_once

PIXELS = 128
LEAST = 1.1754943508222875e-38
"""Smallest normal float32: what stands for the power of a slice that is empty."""


@triton.jit
def phase(along_x, along_y, shift, kx, ky, inside, HALF: tl.constexpr):
    """Cosine and sine of a shift's phase at some pixels, the product of an entry of each of two tables."""
    x = along_x + 2 * (shift * (HALF + 1) + kx)
    y = along_y + 2 * (shift * (2 * HALF + 1) + ky + HALF)
    xr, xi = tl.load(x, inside, 0), tl.load(x + 1, inside, 0)
    yr, yi = tl.load(y, inside, 0), tl.load(y + 1, inside, 0)
    return xr * yr - xi * yi, xr * yi + xi * yr


@triton.jit
def cross_of(xr, xi, along_x, along_y, shift, kx, ky, inside, sr, si, HALF: tl.constexpr):
    """(children, pixels) terms of Re< image moved by a shift, slice >."""
    fr, fi = phase(along_x, along_y, shift, kx, ky, inside, HALF)
    return (xr * fr - xi * fi)[None, :] * sr + (xr * fi + xi * fr)[None, :] * si


@triton.jit
def finish(cross, weight, prior, out, child, children, CORRELATE: tl.constexpr, LEAST: tl.constexpr):
    """Write the scores of one child of the shift."""
    total = tl.sum(cross, 1)
    found = total / tl.sqrt(tl.maximum(2 * weight, LEAST)) if CORRELATE else total - weight + prior
    tl.store(out + child, found, child < children)


@triton.jit
def score_kernel(
    image, power, slices, along_x, along_y, kx, ky, pair_image, pair_shift, pair_row, log_prior, out, n, children,
    HALF: tl.constexpr, CHILDREN: tl.constexpr, PIXELS: tl.constexpr, CORRELATE: tl.constexpr, LEAST: tl.constexpr,
):  # fmt: skip
    """Write out (pairs, 4, children); along_x (4 t, HALF + 1, 2) and along_y (4 t, 2 HALF + 1, 2) are the tables."""
    pair = tl.program_id(0).to(tl.int64)
    i, row = tl.load(pair_image + pair), tl.load(pair_row + pair)
    shift = 4 * tl.load(pair_shift + pair)
    child = tl.arange(0, CHILDREN)
    c0 = tl.zeros((CHILDREN, PIXELS), tl.float32)
    c1 = tl.zeros((CHILDREN, PIXELS), tl.float32)
    c2 = tl.zeros((CHILDREN, PIXELS), tl.float32)
    c3 = tl.zeros((CHILDREN, PIXELS), tl.float32)
    weight = tl.zeros((CHILDREN, PIXELS), tl.float32)
    for begin in range(0, n, PIXELS):
        k = begin + tl.arange(0, PIXELS)
        inside = k < n
        x, y = tl.load(kx + k, inside, 0), tl.load(ky + k, inside, 0)
        xr = tl.load(image + i * 2 * n + k, inside, 0)
        xi = tl.load(image + i * 2 * n + n + k, inside, 0)
        both = (child < children)[:, None] & inside[None, :]
        place = slices + (row * children + child)[:, None] * 2 * n + k[None, :]
        sr, si = tl.load(place, both, 0), tl.load(place + n, both, 0)
        weight += tl.load(power + i * n + k, inside, 0)[None, :] * (sr * sr + si * si)
        c0 += cross_of(xr, xi, along_x, along_y, shift, x, y, inside, sr, si, HALF)
        c1 += cross_of(xr, xi, along_x, along_y, shift + 1, x, y, inside, sr, si, HALF)
        c2 += cross_of(xr, xi, along_x, along_y, shift + 2, x, y, inside, sr, si, HALF)
        c3 += cross_of(xr, xi, along_x, along_y, shift + 3, x, y, inside, sr, si, HALF)
    squares, prior = tl.sum(weight, 1), tl.load(log_prior + pair)
    first = out + pair * 4 * children
    finish(c0, squares, prior, first, child, children, CORRELATE, LEAST)
    finish(c1, squares, prior, first + children, child, children, CORRELATE, LEAST)
    finish(c2, squares, prior, first + 2 * children, child, children, CORRELATE, LEAST)
    finish(c3, squares, prior, first + 3 * children, child, children, CORRELATE, LEAST)


def launch(
    image: Tensor, power: Tensor, slices: Tensor, shift_px: Tensor, kx: Tensor, ky: Tensor, box_px: int,
    pair_image: Tensor, pair_shift: Tensor, pair_row: Tensor, log_prior: Tensor, correlate: bool, out: Tensor,
) -> None:  # fmt: skip
    """Fill what `score` returns; every element is written."""
    if not len(pair_image):
        return
    along_x, along_y = tables_made_once(shift_px, box_px, image.dtype)
    children = slices.shape[1]
    score_kernel[(len(pair_image),)](
        image.contiguous(), power.contiguous(), slices.contiguous(), along_x, along_y, kx.contiguous(),
        ky.contiguous(), pair_image.contiguous(), pair_shift.contiguous(), pair_row.contiguous(),
        log_prior.contiguous(), out, len(kx), children, box_px // 2, triton.next_power_of_2(children), PIXELS,
        correlate, LEAST, enable_fp_fusion=True,
    )  # fmt: skip
