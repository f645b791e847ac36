"""LAFTER: a local filter of the finished map by the agreement of its halves (Ramlaul et al. 2019).

It looks at both halves at every voxel, so that its map cannot serve as a reference of gold-standard refinement, nor be
compared between halves: it is made to look at. Doi:10.1016/j.jsb.2018.11.011.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.filter import resize_volume
from blush.fourier.fsc import fsc, last_shell_above
from blush.regularise.bands import FIRST_WIDTH, Band, Radial, butterworth, core_of, measured

HIGHEST = 0.45
"""Cycles per voxel where bands end at the latest."""
LEAST_FSC = 0.143
"""FSC of a band at which they end before."""
BANDS_PER_FREQUENCY = 16
SWEEPS = 8
"""Averages over neighbours that fill voxels in which the halves never agreed."""
UPSAMPLING = 2
Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Lafter:
    """Result of `lafter`.

    Attributes
    ----------
    map
        (2N, 2N, 2N) filtered and upsampled; its shells are flattened, so that its values have no scale.
    filtered
        (N, N, N) the same before upsampling.
    bands
        From coarse to fine.
    agreed
        Share of the mask's voxels in which signal exceeded noise at some cut-off.
    cref
        (N // 2 + 1,) sqrt(2 FSC / (1 + FSC)) of the masked halves, the expected correlation of their mean with truth.
    fsc_to_sum
        (N // 2 + 1,) FSC of `filtered` with the masked sum of the halves. Where it keeps near `cref`, as much noise was
        taken off as there was.
    """

    map: Tensor
    filtered: Tensor
    bands: tuple[Band, ...]
    agreed: float
    cref: Tensor
    fsc_to_sum: Tensor

    def excess(self) -> float:
        """Mean of `fsc_to_sum` - `cref` from the first shell to where the halves' FSC falls below 0.143."""
        expected = (2 * LEAST_FSC / (1 + LEAST_FSC)) ** 0.5
        last = max(1, last_shell_above(self.cref, expected))
        return float((self.fsc_to_sum - self.cref)[1 : last + 1].mean())


def lafter(half1: Tensor, half2: Tensor, mask: Tensor) -> Lafter:
    """Filter two unfiltered half-maps into one map.

    Bands are weighted voxel by voxel with the probability that the sum of the halves is signal, and flattened. Then,
    from the finest cut-off to the coarsest, voxels whose sum exceeds the largest difference in the mask are taken over.

    Parameters
    ----------
    half1, half2, mask
        (N, N, N); the mask in [0, 1], that of the refinement.

    Raises
    ------
    ValueError
        Where the masked halves have no power, or the mask is nowhere 1.
    """
    core = core_of(mask)
    radial = Radial.like(half1)
    pair, bands = _probable((half1 * mask, half2 * mask), core, radial)
    made, unset = _agreeing((pair[0] * mask, pair[1] * mask), core, bands, radial)
    agreed = 1 - float(unset[core].double().mean())
    last = butterworth(radial.frequency, bands[-1].low or bands[-1].high)
    filtered = radial.filtered(torch.fft.rfftn(_filled(made, unset) * mask), last)
    curve = fsc(half1 * mask, half2 * mask).clamp_min(0)
    return Lafter(
        map=resize_volume(filtered, 1.0, UPSAMPLING * radial.box_px, 1 / UPSAMPLING),
        filtered=filtered,
        bands=tuple(bands),
        agreed=agreed,
        cref=(2 * curve / (1 + curve)).sqrt(),
        fsc_to_sum=fsc(filtered, (half1 + half2) * mask),
    )


def _spectra(pair: Pair) -> Pair:
    """Transforms without the mean."""
    first, second = torch.fft.rfftn(pair[0]), torch.fft.rfftn(pair[1])
    first[0, 0, 0] = second[0, 0, 0] = 0
    return first, second


def _probable(halves: Pair, core: Tensor, radial: Radial) -> tuple[Pair, list[Band]]:
    """Both halves as sums of bands, each voxel weighted by the probability that it is signal, and the bands."""
    spectra = _spectra(halves)
    first, second = torch.zeros_like(halves[0]), torch.zeros_like(halves[1])
    low, width, bands = 0.0, FIRST_WIDTH, list[Band]()
    while True:
        gain = butterworth(radial.frequency, low + width) - butterworth(radial.frequency, low)
        one, two = (radial.filtered(spectrum, gain) for spectrum in spectra)
        band = measured(low, low + width, one, two, core)
        weight = _probability(one + two, band)
        first += one * weight * band.flattening
        second += two * weight * band.flattening
        bands.append(band)
        if band.high > HIGHEST or _band_fsc(spectra, gain, radial) < LEAST_FSC:
            return (first, second), bands
        low, width = band.high, max(float(weight[core].mean()) * band.high / BANDS_PER_FREQUENCY, radial.narrowest)


def _probability(total: Tensor, band: Band) -> Tensor:
    """That a voxel of the sum of both halves holds signal.

    With c the probability that noise stays below |b1 + b2|, and P the share of signal in the band,
    c P / (c P + (1 - c) (1 - P)).
    """
    tiny = torch.finfo(total.dtype).tiny
    confidence = torch.erf(total.abs() / max((2 * band.noise) ** 0.5, tiny))
    signal = confidence * band.signal
    return signal / (signal + (1 - confidence) * (1 - min(band.signal, 1.0))).clamp_min(tiny)


def _band_fsc(spectra: Pair, gain: Tensor, radial: Radial) -> float:
    """Correlation of the halves' transforms inside a band."""
    weight = radial.spread(gain.square(), torch.float64)
    cross, *powers = (
        (weight * values).sum()
        for values in ((spectra[0] * spectra[1].conj()).real, spectra[0].abs().square(), spectra[1].abs().square())
    )
    return float(cross / (powers[0].sqrt() * powers[1].sqrt()).clamp_min(torch.finfo(torch.float64).tiny))


def _agreeing(pair: Pair, core: Tensor, bands: list[Band], radial: Radial) -> Pair:
    """Each voxel at the finest cut-off at which the sum of the halves exceeds noise; and where none did, (bool)."""
    spectra = _spectra(pair)
    made, unset = torch.zeros_like(pair[0]), torch.ones_like(core)
    for band in reversed(bands):
        passed = butterworth(radial.frequency, band.high)
        one, two = (radial.filtered(spectrum, passed) for spectrum in spectra)
        total, threshold = one + two, float((one - two)[core].abs().max())
        chosen = unset & (total.abs() > threshold)
        made[chosen] = total[chosen]
        unset &= ~chosen
    return made, unset


def _filled(volume: Tensor, unset: Tensor) -> Tensor:
    """Unset voxels as the mean of their six neighbours, all at once, eight times over."""
    for _ in range(SWEEPS):
        around = [volume.roll(step, axis) for axis in range(3) for step in (1, -1)]
        volume = torch.where(unset, torch.stack(around).mean(0), volume)
    return volume
