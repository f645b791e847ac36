"""How like two maps are along a screw, at any rise and twist: sums over cylinders, from which scores are read.

The score of a rise and twist is, over all pairs of places in the central part that lie h units apart,

    2 sum <V1(z), V2(z + h rise, turned h twist)> / sum (|V1(z)|^2 + |V2(z + h rise)|^2) ,    h = +-1, +-2, ...

It is 1 where the maps are alike and the symmetry is true, and less anywhere else. Turns and shifts are phases of
harmonics, so candidates between voxels are as sharp as those on them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.geometry.helix import Helix
from blush.helix.cylinder import Cylinders, harmonics
from blush.helix.masks import EDGE_PX, Tube, central_weight

Floats = NDArray[np.float64]

FADED_PX = 8.0
"""Room beyond the central part over which maps fade along z, so that they can be sampled twice as finely."""
LEAST_FADE_PX = 2.0
"""The same where the box ends before."""
TWISTS_AT_ONCE = 256
"""Candidates of the twist that share temporaries."""


@dataclass(frozen=True)
class Central:
    """The part of a map that is compared.

    Parameters
    ----------
    pixel_size_angst
        Å of a voxel.
    fraction
        Part of the box along z.
    tube
        Where the filament is.
    """

    pixel_size_angst: float
    fraction: float
    tube: Tube


@dataclass(frozen=True)
class PairScore:
    """The score as a function of rise and twist: sums over cylinders, kept as transforms along z and about it.

    Attributes
    ----------
    cross
        (orders, l) complex128: sum over circles of conj(V1) V2, for frequencies along z of a row twice as long.
    own
        (l,) complex128: the same for the window and the halves' mean square on each section.
    spacing_angst, length
        Å from a section to the next, and number of places of that row.
    widths
        Shift in Å and turn in degrees that change the score of neighbours.
    reach_angst
        Longest distance of two places.
    apart_angst
        Distance below which pairs count less, as their noise is alike; 0 where it is not.
    units
        How many units apart places may be; None: as many as the central part holds.
    """

    cross: Tensor
    own: Tensor
    spacing_angst: float
    length: int
    widths: tuple[float, float]
    reach_angst: float
    apart_angst: float = 0.0
    units: int | None = None

    def steps(self, helix: Helix) -> tuple[float, float]:
        """Steps of rise and twist between which no optimum is missed: the farthest pairs move by part of a width."""
        most = max(1.0, self.reach_angst / helix.rise_angst)
        return self.widths[0] / most, self.widths[1] / most

    def __call__(self, rises_angst: Floats, twists_deg: Floats) -> Floats:
        """Scores (rises, twists)."""
        return np.stack([self._of_rise(float(rise), twists_deg) for rise in rises_angst])

    def _of_rise(self, rise_angst: float, twists_deg: Floats) -> Floats:
        most = math.floor(self.reach_angst / rise_angst) if self.units is None else self.units
        h = torch.arange(-most, most + 1, dtype=torch.float64)
        h = h[h.abs() * rise_angst > self.apart_angst]
        k = 2 * math.pi * torch.fft.fftfreq(self.length, dtype=torch.float64) / self.spacing_angst
        angle = h[:, None] * rise_angst * k
        waves = torch.polar(torch.ones_like(angle), angle)
        faded = 1 - torch.exp(-((h.abs() * rise_angst / self.apart_angst - 1) ** 2)) if self.apart_angst else h * 0 + 1
        along = (waves @ self.cross.T) * faded[:, None]  # (h, orders)
        turn = h[:, None] * torch.arange(len(self.cross), dtype=torch.float64)
        parts = np.split(np.deg2rad(twists_deg), range(TWISTS_AT_ONCE, len(twists_deg), TWISTS_AT_ONCE))
        angles = [torch.from_numpy(part)[:, None, None] * turn for part in parts]
        both = torch.cat([(along.real * q.cos() - along.imag * q.sin()).sum((1, 2)) for q in angles])
        return np.asarray(2 * both / (faded * (waves @ self.own).real).sum())


def widest_fraction(box_px: int) -> float:
    """Largest central part of a box whose edges still fade within it."""
    return 1 - 2 * (EDGE_PX + LEAST_FADE_PX) / box_px


def pair_score(halves: tuple[Tensor, Tensor], central: Central, fold: int, resolution_angst: float) -> PairScore:
    """Sums over cylinders of two filtered maps (N, N, N).

    Raises
    ------
    ValueError
        If the central part and its edges fill the box.
    """
    n, pixel = len(halves[0]), central.pixel_size_angst
    outer_px, inner_px = central.tube.radii_px(pixel)
    cylinders = Cylinders(n, min(outer_px, n / 2))
    half = min(n // 2, math.ceil(central.fraction * n / 2 + EDGE_PX + FADED_PX))
    fade_px = half - central.fraction * n / 2 - EDGE_PX
    if fade_px < LEAST_FADE_PX:
        most = widest_fraction(n)
        raise ValueError(f"central fraction {central.fraction} reaches the ends of the box; take {most:.2f} or less")
    window = central_weight(torch.arange(-2 * half, 2 * half, dtype=torch.float64) / 2, n, central.fraction)
    inside = window.nonzero().flatten()
    length = 2 * len(inside)
    radius = cylinders.radii_px()
    ring = radius * (radius <= outer_px) * (radius >= inner_px)
    once = torch.full((cylinders.orders,), 2.0, dtype=torch.float64)  # n and -n
    once[0] = 1
    once[torch.arange(cylinders.orders) % fold != 0] = 0
    density = (ring[:, None] * once).sqrt()[..., None]
    middle = slice(n // 2 - half, n // 2 + half)
    first, second = (
        _fine_along(harmonics(each[middle], cylinders), fade_px)[..., inside].cpu() * density for each in halves
    )
    window = window[inside]
    seen = torch.fft.fft(window, n=length)
    powers = [torch.fft.fft(window * each.abs().square().sum((0, 1)), n=length) for each in (first, second)]
    waves = [torch.fft.fft(each * window, n=length, dim=2) for each in (first, second)]
    widths = resolution_angst / 4, math.degrees(resolution_angst / 4 / (outer_px * pixel))
    return PairScore(
        cross=(waves[0].conj() * waves[1]).sum(0),
        own=powers[0].conj() * seen + seen.conj() * powers[1],
        spacing_angst=pixel / 2,
        length=length,
        widths=widths,
        reach_angst=len(inside) * pixel / 2,
    )


def _fine_along(values: Tensor, fade_px: float) -> Tensor:
    """Harmonics (r, n, z) sampled twice as finely along z, faded at both ends: (r, n, 2 z) complex128."""
    size = values.shape[2]
    z_px = torch.arange(size, dtype=torch.float64, device=values.device) - size // 2
    faded = raised_cosine(z_px.abs(), (size - fade_px) / 2, fade_px)
    spectrum = torch.fft.fft(values * faded, dim=2)
    fine = spectrum.new_zeros(*values.shape[:2], 2 * size)
    half = size // 2
    fine[..., :half] = spectrum[..., :half]
    fine[..., 2 * size - half + 1 :] = spectrum[..., half + 1 :]
    return torch.fft.ifft(fine, dim=2) * 2
