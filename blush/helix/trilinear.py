"""Symmetry on trilinear copies, voxel by voxel, as `relion_helix_toolbox` has it: to compare with, not to refine by.

Its criterion is precise and biased, for copies between voxels are smoother than those on them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.geometry.helix import Helix
from blush.helix.masks import tube_mask
from blush.helix.pair_score import Central


def variance(volume: Tensor, central: Central, helix: Helix) -> float:
    """Mean variance, over voxels of one rise at the lower end of the central part, of each voxel and its copies above.

    Parameters
    ----------
    volume
        (N, N, N).

    Returns
    -------
    Smaller for a better symmetry.

    References
    ----------
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003, section 2.5.
    """
    n, rise_px = len(volume), helix.rise_angst / central.pixel_size_angst
    half = central.fraction * n / 2
    top, first = math.ceil(half), math.floor(-half)
    x, y = _positions_within(n, central)
    z = torch.arange(first, first + math.floor(rise_px) + 1, dtype=torch.float64)
    count = torch.zeros(len(z), 1, dtype=torch.float64)
    total, square = (torch.zeros(len(z), len(x), dtype=torch.float64) for _ in range(2))
    for h in range(math.floor((top - first) / rise_px) + 1):
        here = (z + h * rise_px <= top).double()[:, None]
        values = _copy(volume, x, y, z, (h * helix.twist_deg, h * rise_px))
        count, total, square = count + here, total + here * values, square + here * values**2
    return float((square / count - (total / count) ** 2).mean())


def impose_trilinear(volume: Tensor, central: Central, helix: Helix) -> Tensor:
    """Mean of the trilinear copies of every voxel that lie in the central part, under the tube's soft mask.

    Parameters
    ----------
    volume
        (N, N, N).

    Returns
    -------
    (N, N, N); sharper, and the same away from voxels, is `blush.helix.impose.impose`.

    References
    ----------
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003, section 2.5.
    """
    n, rise_px = len(volume), helix.rise_angst / central.pixel_size_angst
    mask = tube_mask(n, central.pixel_size_angst, central.tube)
    within = mask.amax(0).flatten() > 0
    grid = torch.arange(n, dtype=torch.float64) - n // 2
    x, y = grid.repeat(n)[within], grid.repeat_interleave(n)[within]
    half = central.fraction * n / 2
    most = math.ceil((n / 2 + half) / rise_px)
    total, count = torch.zeros(n, len(x), dtype=torch.float64), torch.zeros(n, 1, dtype=torch.float64)
    for h in range(-most, most + 1):
        rows = ((grid + h * rise_px).abs() <= half).nonzero().flatten()
        if len(rows):
            total[rows] += _copy(volume, x, y, grid[rows], (h * helix.twist_deg, h * rise_px))
            count[rows] += 1
    out = torch.zeros(n, n * n, dtype=volume.dtype)
    out[:, within] = (total / count).to(volume.dtype)
    return out.view(n, n, n) * mask.to(volume.dtype)


def _positions_within(n: int, central: Central) -> tuple[Tensor, Tensor]:
    """Places x and y of a section whose radius lies between those of the tube."""
    outer_px, inner_px = central.tube.radii_px(central.pixel_size_angst)
    grid = torch.arange(n, dtype=torch.float64) - n // 2
    x, y = grid.repeat(n), grid.repeat_interleave(n)
    radius = torch.hypot(x, y)
    inside = (radius <= outer_px) & (radius >= inner_px)
    return x[inside], y[inside]


def _copy(volume: Tensor, x: Tensor, y: Tensor, z: Tensor, screw: tuple[float, float]) -> Tensor:
    """V at points (x, y) turned by screw[0] degrees and z + screw[1] px: (z, p) float64; 0 beyond the box."""
    n, angle = len(volume), math.radians(screw[0])
    cosine, sine = math.cos(angle), math.sin(angle)
    place = (z + screw[1] + n // 2, x * sine + y * cosine + n // 2, x * cosine - y * sine + n // 2)
    padded = torch.nn.functional.pad(volume.double(), (1, 2) * 3)  # so that no neighbour needs a test
    floors = [axis.clamp(-1, n).floor() for axis in place]
    fractions = [axis.clamp(-1, n) - floor for axis, floor in zip(place, floors, strict=True)]
    iz, iy, ix = (floor.long() + 1 for floor in floors)
    fz, fy, fx = fractions[0][:, None], fractions[1], fractions[2]

    def plane(rows: Tensor) -> Tensor:
        sections = padded[rows]
        low = sections[:, iy, ix] * (1 - fx) + sections[:, iy, ix + 1] * fx
        high = sections[:, iy + 1, ix] * (1 - fx) + sections[:, iy + 1, ix + 1] * fx
        return low * (1 - fy) + high * fy

    return plane(iz) * (1 - fz) + plane(iz + 1) * fz
