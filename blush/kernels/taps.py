"""Where the pixels of central slices fall in a padded Fourier sphere, and the eight cells about each."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLES_PER_CHUNK = 2**22  # bounds the temporaries of torch references to about 0.5 GB


def taps(matrices: Tensor, kx: Tensor, ky: Tensor, radius: int, pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Corner index, fractions (3, r, p) as x y z, and sign of the reflection for every sample of every slice."""
    point = pad * (matrices[:, 0, :, None] * kx + matrices[:, 1, :, None] * ky)  # (r, 3, p): A^T (kx, ky, 0)
    sign = torch.where(point[:, 0] < 0, -1.0, 1.0).to(kx.dtype)
    point = point * sign[:, None]
    floor = torch.floor(point)
    fraction = (point - floor).unbind(1)
    x, y, z = floor.long().unbind(1)
    d, h = 2 * radius + 1, radius + 1
    return ((z + radius) * d + y + radius) * h + x, torch.stack(fraction), sign


def corners(fraction: Tensor, radius: int) -> list[tuple[int, Tensor]]:
    """Offset and weight of the eight neighbours of each sample."""
    d, h = 2 * radius + 1, radius + 1
    fx, fy, fz = fraction
    out = []
    for z, wz in ((0, 1 - fz), (1, fz)):
        for y, wy in ((0, 1 - fy), (1, fy)):
            out += [((z * d + y) * h + x, wz * wy * wx) for x, wx in ((0, 1 - fx), (1, fx))]
    return out
