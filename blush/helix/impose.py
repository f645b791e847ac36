"""Helical symmetry imposed on a map: the box filled with the average of its central part (sums: `symmetrise_helix`)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.geometry.helix import Helix
from blush.helix.cylinder import CHUNK_VALUES, Cylinders, harmonics, sections
from blush.helix.masks import EDGE_PX, Tube, central_weight, tube_mask


def impose(volume: Tensor, pixel_size_angst: float, helix: Helix, central_fraction: float, tube: Tube) -> Tensor:
    """Average of the units in the central part, put back along the whole helix, inside the tube's soft mask.

    Each voxel becomes sum_h w(z_h) V(R(h twist) (x, y), z_h) / sum_h w(z_h) with z_h = z + h rise, where w is 1 in the
    central part and falls over 5 px beyond it; with Cn, also the average over the folds. Turns and shifts are phases
    of harmonics on cylinders, so only the way to the cylinders and back interpolates, once for any number of units.

    Parameters
    ----------
    volume
        (N, N, N), z y x, N even.
    central_fraction
        Part of the box along z that is averaged; at least one rise long.

    Returns
    -------
    (N, N, N); 0 outside tube and sphere.

    Raises
    ------
    ValueError
        If the central part is shorter than a rise: some voxels would have nothing to be filled from.

    Notes
    -----
    Memory: 8 bytes x 4 (R + 8) x (pi (R + 4) + 1) x N with R the tube's outer radius and edge in px, and as much again.

    References
    ----------
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003 (real-space averaging of the central part).
    """
    n, rise_px = len(volume), helix.rise_angst / pixel_size_angst
    if central_fraction * n < rise_px:
        least = rise_px / n
        raise ValueError(f"central fraction {central_fraction} is less than one rise; take {least:.3f} or more")
    cylinders = Cylinders(n, min(tube.radii_px(pixel_size_angst)[0] + EDGE_PX, n / 2))
    values = harmonics(volume, cylinders)
    values[:, torch.arange(cylinders.orders, device=values.device) % helix.fold != 0] = 0
    z_px = torch.arange(n, dtype=torch.float64, device=volume.device) - n // 2
    weight = central_weight(z_px, n, central_fraction).to(volume.dtype)
    reach_px = central_fraction * n / 2 + EDGE_PX
    most = math.ceil((n / 2 + reach_px) / rise_px)
    length = 2 * math.ceil((n / 2 + most * rise_px + reach_px) / 2) + 2
    lattice = _lattice(helix, cylinders.orders, length, pixel_size_angst, most).to(volume)
    total = _over_units(weight.to(values.dtype)[None, None], lattice[:1])[0, 0].real
    step = max(1, CHUNK_VALUES // (cylinders.orders * length))
    for begin in range(0, cylinders.count, step):
        rows = slice(begin, begin + step)
        values[rows] = _over_units(values[rows] * weight, lattice) / total
    return sections(values, cylinders) * tube_mask(n, pixel_size_angst, tube).to(volume)


def continue_tube(volume: Tensor, pixel_size_angst: float, helix: Helix, central_fraction: float, tube: Tube) -> Tensor:
    """A map whose tube goes on, as its central part has it, from one face of the box to the other: (N, N, N).

    Its hollow is continued as well. What lies beyond the tube is as it was, noise and all: a method that tells
    particles from solvent needs both.

    Parameters
    ----------
    volume, central_fraction
        As in `impose`.

    Raises
    ------
    ValueError
        As `impose`.
    """
    whole = Tube(tube.outer_diameter_angst, 0, 2 * len(volume) * pixel_size_angst)
    outside = 1 - tube_mask(len(volume), pixel_size_angst, whole).to(volume)
    return impose(volume, pixel_size_angst, helix, central_fraction, whole) + outside * volume


def _lattice(helix: Helix, orders: int, length: int, pixel_size_angst: float, most: int) -> Tensor:
    """Sum over h = -most .. most of exp(i (n h twist + k h rise)): (orders, length) float64, real as h and -h pair."""
    n = torch.arange(orders, dtype=torch.float64)[:, None] * math.radians(helix.twist_deg)
    k = 2 * math.pi * torch.fft.fftfreq(length, dtype=torch.float64) * (helix.rise_angst / pixel_size_angst)
    out = torch.ones(orders, length, dtype=torch.float64)
    for h in range(1, most + 1):
        out += 2 * torch.cos(h * (n + k))
    out[:, length // 2] = 0  # the Nyquist frequency has no shift by a part of a pixel
    return out


def _over_units(values: Tensor, lattice: Tensor) -> Tensor:
    """Sum of the copies of (r, n, z) moved along the screw, in a row of zeros long enough that none comes round."""
    size, length = values.shape[2], lattice.shape[1]
    return torch.fft.ifft(torch.fft.fft(values, n=length, dim=2) * lattice, dim=2)[:, :, :size]
