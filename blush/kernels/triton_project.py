"""Triton kernel of `project`: a program samples some pixels of one slice."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PIXELS = 256


@triton.jit
def locate(matrices, row, kx, ky, radius, pad):
    """Corner cell (int64), fractions and reflection of the points A^T (kx, ky, 0) of one slice."""
    a = matrices + row * 9
    x = pad * (tl.load(a) * kx + tl.load(a + 3) * ky)
    y = pad * (tl.load(a + 1) * kx + tl.load(a + 4) * ky)
    z = pad * (tl.load(a + 2) * kx + tl.load(a + 5) * ky)
    sign = tl.where(x < 0, -1.0, 1.0)
    x, y, z = x * sign, y * sign, z * sign
    x0, y0, z0 = tl.floor(x), tl.floor(y), tl.floor(z)
    d, h = 2 * radius + 1, radius + 1
    corner = ((z0.to(tl.int64) + radius) * d + y0.to(tl.int64) + radius) * h + x0.to(tl.int64)
    return corner, x - x0, y - y0, z - z0, sign


@triton.jit
def project_kernel(
    values, matrices, kx, ky, weight, slices, partial, n, radius, pad, run, N_BLOCKS,
    PIXELS: tl.constexpr, WEIGHTED: tl.constexpr,
):  # fmt: skip
    """Write slices (r, 2, n) of values (d, d, h, 2); with WEIGHTED also partial (r, blocks) of the sums over pixels."""
    row, block = tl.program_id(0).to(tl.int64), tl.program_id(1)
    k = block * PIXELS + tl.arange(0, PIXELS)
    inside = k < n
    x, y = tl.load(kx + k, inside, 0).to(tl.float32), tl.load(ky + k, inside, 0).to(tl.float32)
    corner, fx, fy, fz, sign = locate(matrices, row, x, y, radius, pad)
    sy = (2 * (radius + 1)).to(tl.int64)
    sz = sy * (2 * radius + 1)
    cell = values + 2 * corner
    re, im = tl.zeros((PIXELS,), tl.float32), tl.zeros((PIXELS,), tl.float32)
    for corner_yz in tl.static_range(4):
        iy, iz = corner_yz % 2, corner_yz // 2
        share = (fz if iz else 1 - fz) * (fy if iy else 1 - fy)
        near = cell + iy * sy + iz * sz
        re += share * (tl.load(near, inside, 0) * (1 - fx) + tl.load(near + 2, inside, 0) * fx)
        im += share * (tl.load(near + 1, inside, 0) * (1 - fx) + tl.load(near + 3, inside, 0) * fx)
    im *= sign
    out = slices + row * 2 * n + k
    tl.store(out, re, inside)
    tl.store(out + n, im, inside)
    if WEIGHTED:
        w = tl.load(weight + (row // run) * n + k, inside, 0)
        tl.store(partial + row * N_BLOCKS + block, tl.sum(w * (re * re + im * im), 0))


def launch(
    values: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, weight: Tensor | None, slices: Tensor,
    dots: Tensor,
) -> None:  # fmt: skip
    """Fill what `project` returns; every element of both outputs is written."""
    r, n = len(matrices), len(kx)
    if not r or not n:
        dots.zero_()
        return
    blocks = triton.cdiv(n, PIXELS)
    flat = torch.view_as_real(values.contiguous())
    partial = dots.new_empty(r, blocks) if weight is not None else dots
    run = r // len(weight) if weight is not None else 1
    project_kernel[(r, blocks)](
        flat, matrices.contiguous(), kx.contiguous(), ky.contiguous(), flat if weight is None else weight.contiguous(),
        slices, partial, n, values.shape[2] - 1, pad, run, blocks, PIXELS, weight is not None, enable_fp_fusion=True,
    )  # fmt: skip
    if weight is not None:
        torch.sum(partial, 1, out=dots)
