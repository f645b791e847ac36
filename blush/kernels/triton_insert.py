"""Triton kernel of `insert_fixed`: a program adds some pixels of one slice to the cells about them."""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

from blush.kernels.triton_project import locate

PIXELS = 128


@triton.jit
def whole(value):
    """Nearest integer; from 2^22 on a float32 is one already, or half of one, which is cut."""
    return tl.where(tl.abs(value) < 4194304.0, tl.floor(value + 0.5), value).to(tl.int64)


@triton.jit
def insert_kernel(
    grid, matrices, kx, ky, data, weight, n, radius, pad, per_data, per_weight, PIXELS: tl.constexpr
):  # fmt: skip
    """Add to grid (d, d, h, 3) int64; a pixel's shares are rounded one by one, so no order of them is another."""
    row = tl.program_id(0).to(tl.int64)
    k = tl.program_id(1) * PIXELS + tl.arange(0, PIXELS)
    inside = k < n
    x, y = tl.load(kx + k, inside, 0).to(tl.float32), tl.load(ky + k, inside, 0).to(tl.float32)
    corner, fx, fy, fz, sign = locate(matrices, row, x, y, radius, pad)
    re = tl.load(data + row * 2 * n + k, inside, 0) * per_data
    im = tl.load(data + row * 2 * n + n + k, inside, 0) * sign * per_data
    w = tl.load(weight + row * n + k, inside, 0) * per_weight
    sy = (3 * (radius + 1)).to(tl.int64)
    sz = sy * (2 * radius + 1)
    cell = grid + 3 * corner
    for step in tl.static_range(8):
        ix, iy, iz = step % 2, step // 2 % 2, step // 4
        share = (fz if iz else 1 - fz) * (fy if iy else 1 - fy) * (fx if ix else 1 - fx)
        near = cell + 3 * ix + iy * sy + iz * sz
        tl.atomic_add(near, whole(re * share), inside, sem="relaxed")
        tl.atomic_add(near + 1, whole(im * share), inside, sem="relaxed")
        tl.atomic_add(near + 2, whole(w * share), inside, sem="relaxed")


def launch(
    grid: Tensor, matrices: Tensor, kx: Tensor, ky: Tensor, pad: int, data: Tensor, weight: Tensor, per_data: float,
    per_weight: float,
) -> None:  # fmt: skip
    """Add to `grid` of `insert_fixed` in place."""
    r, n = len(matrices), len(kx)
    if not r or not n:
        return
    insert_kernel[(r, triton.cdiv(n, PIXELS))](
        grid, matrices.contiguous(), kx.contiguous(), ky.contiguous(), data.contiguous(), weight.contiguous(), n,
        grid.shape[2] - 1, pad, per_data, per_weight, PIXELS, enable_fp_fusion=True,
    )  # fmt: skip
