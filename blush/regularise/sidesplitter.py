"""SIDESPLITTER: local filtering by the local signal to noise, which keeps the halves apart.

Ramlaul, Palmer, Nakane & Aylett 2020, doi:10.1016/j.jsb.2020.107545. Both halves together say how strong signal must be
to stand out from noise, frequency by frequency; where a half stands out is seen in that half alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import power_spectrum, shell_sum
from blush.fourier.mask import soft_sphere
from blush.regularise.bands import FIRST_WIDTH, Band, Radial, butterworth, core_of, measured
from blush.regularise.base import HalfMaps, Outcome, Regulariser, RegulariserError

LEAST_FSC = 0.1
"""|FSC| of the masked halves, in shells of half a voxel, where the decomposition ends."""
HIGHEST = 0.475
"""Cycles per voxel where it ends otherwise."""
LEAST_SIGNAL = 0.05
"""Share of signal in a band at which it ends, too."""
BANDS_PER_FREQUENCY = 64
EDGE_PX = 5.0
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class _Shells:
    """Half-voxel shells of the masked halves, round(2 |k|).

    Attributes
    ----------
    limit
        Cycles per voxel of the first shell without signal.
    amplitude
        (2, N + 1) mean amplitude of each half times Cref, what a half's shells should have.
    """

    limit: float
    amplitude: Tensor


class Sidesplitter(Regulariser):
    """Each voxel of a half is low-passed where that half exceeds what noise reaches.

    The bands of `blush.regularise.bands` are flattened, so that each counts by its width. From the finest cut-off to
    the coarsest, the level of noise T is the larger of max d^2 and 2 ln(n) <d^2> over the n voxels of the mask, with d
    half the difference of the flattened, low-passed halves. Voxels of a half that exceed it take their value from that
    half low-passed there; voxels that never do are 0. As voxels are taken where they are large, the lowest shells come
    out too strong (up to twice the power, measured); no shell is left with more power than that half gave it.

    Memory: 19 maps of 4 N^3 bytes in float32 at once (measured; 10 GB at 512 px).

    Parameters
    ----------
    taper
        True: voxels take their values from the half itself, low-passed (the mode made for refinement). False: from
        the flattened map, whose bands, and at last half-voxel shells, are scaled back to the spectrum of the half.
    """

    name = "sidesplitter"
    couples = "field"
    looks_around = True

    def __init__(self, taper: bool = True) -> None:
        self.taper = taper

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Locally filtered half-maps.

        Raises
        ------
        RegulariserError
            Where the halves have no power, or the mask is nowhere 1.
        """
        halves = maps.unregularised(0), maps.unregularised(1)
        mask = maps.mask
        if mask is None:
            radius_px = maps.particle_diameter_angst / (2 * maps.pixel_size_angst)
            mask = soft_sphere(maps.box_px, radius_px, EDGE_PX, halves[0].device, halves[0].dtype)
        try:
            core = core_of(mask)
            shells = _shells(halves, mask)
            spectra = torch.fft.rfftn(halves[0]), torch.fft.rfftn(halves[1])
            radial = Radial.like(halves[0])
            bands = _decompose(spectra, core, shells.limit, radial)
        except ValueError as error:
            raise RegulariserError(str(error)) from None
        pair, shares = self._assembled(spectra, core, bands, radial)
        if self.taper:
            first, second = (_no_stronger(made, half) for made, half in zip(pair, halves, strict=True))
        else:
            first, second = (_rescaled(pair[half], mask, bands, shells, half, radial) for half in (0, 1))
        return Outcome((first, second), _notes(bands, shares, maps))

    def _assembled(
        self, spectra: Pair, core: Tensor, bands: list[Band], radial: Radial
    ) -> tuple[Pair, list[list[float]]]:
        """Both halves voxel by voxel, and the share of the mask that each cut-off set in each."""
        flat = _flattening(bands, radial)
        made = torch.zeros((2, *core.shape), dtype=spectra[0].real.dtype, device=core.device)
        unset = torch.ones_like(made, dtype=torch.bool)
        shares: list[list[float]] = [[], []]
        for band in reversed(bands):
            pass_band = butterworth(radial.frequency, band.high)
            levels = [radial.filtered(spectrum, flat * pass_band) for spectrum in spectra]
            threshold = _noise_level((levels[0] - levels[1]) / 2, core)
            for half in (0, 1):
                chosen = unset[half] & (levels[half].square() > threshold)
                shares[half].append(float(chosen[core].double().mean()))
                if not bool(chosen.any()):
                    continue
                source = radial.filtered(spectra[half], pass_band) if self.taper else levels[half]
                made[half] = torch.where(chosen, source, made[half])
                unset[half] &= ~chosen
        return (made[0], made[1]), shares


def _no_stronger(volume: Tensor, half: Tensor) -> Tensor:
    """The map with each shell scaled down to the power of the half it was made from, where it has more."""
    made, given = power_spectrum(volume), power_spectrum(half)
    excess = torch.where(made > given, given / made.clamp_min(torch.finfo(made.dtype).tiny), 1.0)
    return multiply_shells(volume, excess.sqrt())


def _decompose(spectra: Pair, core: Tensor, limit: float, radial: Radial) -> list[Band]:
    """Bands from 0 up to `limit`, or to where no signal is left, each as wide as the share of signal allows."""
    low, width, bands = 0.0, FIRST_WIDTH, list[Band]()
    while True:
        gain = butterworth(radial.frequency, low + width) - butterworth(radial.frequency, low)
        first, second = (radial.filtered(spectrum, gain) for spectrum in spectra)
        bands.append(measured(low, low + width, first, second, core))
        low += width
        if low >= limit or bands[-1].signal <= LEAST_SIGNAL:
            return bands
        width = max(bands[-1].signal * low / BANDS_PER_FREQUENCY, radial.narrowest)


def _flattening(bands: list[Band], radial: Radial) -> Tensor:
    """The factor per frequency that gives every band the power of its width, as a table of `radial`."""
    return torch.stack([band.gain(radial.frequency) * band.flattening for band in bands]).sum(0)


def _noise_level(difference: Tensor, core: Tensor) -> float:
    """What noise alone does not exceed: the largest d^2 in the mask, or the largest of as many normal deviates."""
    square = difference[core].double().square()
    return max(float(square.max()), 2 * math.log(len(square)) * float(square.mean()))


def _half_shells(box: int, radial: Radial) -> Tensor:
    """round(2 |k|) of an rfftn array, int64."""
    return ((2 * box * radial.frequency + 0.5).floor().long())[radial.k2]


def _shells(halves: Pair, mask: Tensor) -> _Shells:
    """Where the masked halves stop correlating, and the amplitudes they should have."""
    radial = Radial.like(halves[0])
    box = radial.box_px
    shell, n = _half_shells(box, radial), box + 1
    first, second = (torch.fft.rfftn(half * mask) for half in halves)
    count = shell_sum(torch.ones_like(first.real), shell, n)
    power = [shell_sum(spectrum.abs().square(), shell, n) for spectrum in (first, second)]
    cross = shell_sum((first * second.conj()).real, shell, n)
    fsc = (cross / (power[0] * power[1]).sqrt().clamp_min(torch.finfo(torch.float64).tiny)).abs().clamp_max(1)
    ends = torch.nonzero((fsc < LEAST_FSC) & (count > 0) & (torch.arange(n, device=fsc.device) > 0))
    limit = int(ends[0]) / (2 * box) if len(ends) else HIGHEST
    amplitude = [shell_sum(spectrum.abs(), shell, n) / count.clamp_min(1) for spectrum in (first, second)]
    return _Shells(min(limit, HIGHEST), torch.stack(amplitude) * (2 * fsc / (1 + fsc)).sqrt())


def _rescaled(volume: Tensor, mask: Tensor, bands: list[Band], shells: _Shells, half: int, radial: Radial) -> Tensor:
    """Bands scaled back, masked, and each half-voxel shell given its amplitude; nothing beyond the limit."""
    back = torch.stack([band.gain(radial.frequency) / band.flattening for band in bands]).sum(0)
    spectrum = torch.fft.rfftn(radial.filtered(torch.fft.rfftn(volume), back) * mask)
    shell, n = _half_shells(radial.box_px, radial), radial.box_px + 1
    count = shell_sum(torch.ones_like(spectrum.real), shell, n)
    mean = shell_sum(spectrum.abs(), shell, n) / count.clamp_min(1)
    factor = torch.where(mean > 0, shells.amplitude[half] / mean.clamp_min(torch.finfo(torch.float64).tiny), 0.0)
    factor[torch.arange(n, device=factor.device) > 2 * radial.box_px * shells.limit] = 0
    padded = torch.cat([factor, factor.new_zeros(1)]).to(volume)
    return torch.fft.irfftn(spectrum * padded[shell.clamp_max(n)], s=volume.shape)


def _notes(bands: list[Band], shares: list[list[float]], maps: HalfMaps) -> dict[str, Any]:
    """Where the decomposition ended, and how much of the mask each tenth of the bands set."""
    cutoff = [band.high for band in reversed(bands)]
    median = []
    for share in shares:
        total = torch.tensor(share, dtype=torch.float64).cumsum(0)
        reached = torch.nonzero(total >= 0.5)
        median.append(maps.pixel_size_angst / cutoff[int(reached[0])] if len(reached) else None)
    return {
        "bands": len(bands),
        "finest_angst": maps.pixel_size_angst / cutoff[0],
        "set_in_mask": [sum(share) for share in shares],
        "median_angst": median,
    }
