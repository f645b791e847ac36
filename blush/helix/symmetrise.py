"""Helical symmetry of back-projected sums: what each segment says of the units that it adds."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator, rotate_add, symmetrise
from blush.geometry.helix import Helix
from blush.geometry.symmetry import operators


def symmetrise_helix(sums: Accumulator, helix: Helix, pixel_size_angst: float, count: int) -> Accumulator:
    """Sum of D and W over `count` units of a helix, and over the folds of its Cn.

    Each copy is turned about z by h twist, and D multiplied by the phase of a shift by h rise, for the symmetric set
    of units h of `Helix.units`: sums, no division, so that W, and with it the noise of the reconstruction and the
    SSNR, counts what was observed. `count` is to be the number of units that a segment adds, which is the distance of
    segments over the rise: boxes overlap, and further copies would count the same noise again.

    Parameters
    ----------
    sums
        Hermitian (`blush.fourier.backproject.hermitian`).
    count
        Units that a segment adds; 1 leaves the sums but for the fold.

    References
    ----------
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003, section 2.4.
    """
    out = torch.zeros_like(sums.grid)
    for h, weight in zip(*helix.units(count), strict=True):
        out += moved_along_screw(sums, math.radians(h * helix.twist_deg), h * helix.rise_angst / pixel_size_angst).mul_(
            weight
        )
    total = Accumulator(out, sums.box_px, sums.r_max, sums.pad)
    return total if helix.fold == 1 else symmetrise(total, operators(f"C{helix.fold}"))


def moved_along_screw(sums: Accumulator, angle: float, shift_px: float) -> Tensor:
    """D and W of the map V(R(angle) (x, y), z + shift), a new (d, d, h, 4).

    Bilinear in kx and ky, as kz stays a whole number. Kernels of higher order are of no use here: W has holes between
    slices, where their negative weights divide by nothing.
    """
    out = torch.zeros_like(sums.grid)
    if angle == 0 and shift_px == 0:
        return out.copy_(sums.grid)
    cosine, sine = math.cos(angle), math.sin(angle)
    operator = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    rotate_add(sums, out, operator)
    kz = torch.arange(-sums.radius, sums.radius + 1, dtype=torch.float64, device=out.device)
    phase = 2 * math.pi * shift_px / (sums.pad * sums.box_px) * kz
    data = torch.view_as_complex(out[..., :2].contiguous())
    data *= torch.polar(torch.ones_like(phase), phase).to(data.dtype)[:, None, None]
    out[..., :2] = torch.view_as_real(data)
    return out
