"""Non-uniform refinement: the local low-pass filter with which each half predicts the other best.

Punjani, Zhang & Fleet 2020, doi:10.1038/s41592-020-00990-8. With one filter for the whole map and each shell free, the
filter that minimises |m1 - h m2|^2 + |m2 - h m1|^2 is the Wiener filter of the half-maps, about the FSC
(`cross_validated_filter`). Here the filters are low-passes whose cut-off is free at every voxel instead, so that
disordered parts, micelles and solvent are not let through up to the resolution of the rest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.fourier.fsc import shell_sum
from blush.fourier.grid import shell_index_3d
from blush.regularise.bands import Radial, butterworth
from blush.regularise.base import HalfMaps, Outcome, Regulariser
from blush.regularise.trailing import cut_shell

COARSEST_ANGST = 30.0
FINEST_OVER_GLOBAL = 1.15
"""Highest cut-off over the frequency where the half-map FSC ends: parts may be better than the whole."""


class Nonuniform(Regulariser):
    """Each voxel gets the cut-off of a Butterworth filter of order 8 that cross-validates best around it.

    Cut-offs c_k are equally spaced in frequency. With m_i the halves and h_k the filters, the error is

        e_k = (h_k m2)^2 - 2 m1 h_k m2 + (h_k m1)^2 - 2 m2 h_k m1,

    where what no filter changes is left out. From one cut-off to the next, the change of the error is averaged over a
    Gaussian of sigma = awf / (2 c_k): a window in proportion to the wavelength that is put to the test. The sum of
    these changes up to k is the error of cut-off k, and its least value decides.

    Memory: 18 maps of 4 N^3 bytes in float32 at once (measured; 10 GB at 512 px), for any number of cut-offs, because
    errors are compared as they are made, and the filtered maps are made again when they are blended.

    Parameters
    ----------
    awf
        Adaptive window factor: window, of twice its sigma, over wavelength of the cut-off. The paper has 3 for windows
        of a width it does not define; the narrowest that it allows, 1.5, refined better here (docs/benchmarks.md).
    cutoffs
        How many are tried.
    share_cutoffs
        Whether the errors of both halves choose one cut-off for both. Otherwise each half gets the cut-off with which
        it predicts the other; what the other half holds decides then, too, so that a field is shared in any case.
    """

    name = "nonuniform"
    couples = "field"
    looks_around = True

    def __init__(
        self,
        awf: float = 1.5,
        cutoffs: int = 20,
        share_cutoffs: bool = True,
    ) -> None:
        self.awf, self.count, self.share = awf, cutoffs, share_cutoffs

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Locally filtered half-maps."""
        halves = maps.unregularised(0), maps.unregularised(1)
        radial = Radial.like(halves[0])
        cutoffs = self.cutoffs_per_px(maps)
        gains = [butterworth(radial.frequency, cutoff) for cutoff in cutoffs]
        spectra = torch.fft.rfftn(halves[0]), torch.fft.rfftn(halves[1])
        pairs: Sequence[tuple[int, ...]] = [(0, 1)] if self.share else [(0,), (1,)]
        positions = [self._best(halves, spectra, which, cutoffs, gains, radial) for which in pairs]
        notes = _notes(positions, cutoffs, maps)
        first, second = (_blended(spectra[half], positions[half % len(positions)], gains, radial) for half in (0, 1))
        return Outcome((first, second), notes)

    def cutoffs_per_px(self, maps: HalfMaps) -> list[float]:
        """Cut-offs in cycles per voxel, from 1 / 30 Å to 1.15 times where the FSC ends, and at least to 1 / 15 Å."""
        coarsest = maps.pixel_size_angst / COARSEST_ANGST
        finest = max(FINEST_OVER_GLOBAL * cut_shell(maps.fsc, 0) / maps.box_px, 2 * coarsest)
        step = (finest - coarsest) / (self.count - 1)
        return [coarsest + step * k for k in range(self.count)]

    def _best(
        self,
        halves: tuple[Tensor, Tensor],
        spectra: tuple[Tensor, Tensor],
        which: tuple[int, ...],
        cutoffs: list[float],
        gains: list[Tensor],
        radial: Radial,
    ) -> Tensor:
        """Index of the best cut-off for the filtered halves in `which`, smoothed: (N, N, N) real in [0, K - 1]."""
        error, least = torch.zeros_like(halves[0]), torch.full_like(halves[0], math.inf)
        position, before = torch.zeros_like(halves[0]), torch.zeros_like(halves[0])
        for k, (cutoff, gain) in enumerate(zip(cutoffs, gains, strict=True)):
            now = torch.zeros_like(error)
            for half in which:
                passed = radial.filtered(spectra[half], gain)
                now += passed * (passed - 2 * halves[1 - half])
            error += _smooth(now - before, self.awf / (2 * cutoff), radial)
            position.masked_fill_(error < least, float(k))
            torch.minimum(least, error, out=least)
            before = now
        return _smooth(position, 1 / (2 * cutoffs[-1]), radial).clamp_(0, len(cutoffs) - 1)


def _smooth(volume: Tensor, sigma_px: float, radial: Radial) -> Tensor:
    """Average over a Gaussian, borders wrapping around."""
    return radial.filtered(torch.fft.rfftn(volume), torch.exp(-2 * (math.pi * sigma_px * radial.frequency) ** 2))


def _blended(spectrum: Tensor, position: Tensor, gains: list[Tensor], radial: Radial) -> Tensor:
    """At each voxel the mean of the two filtered maps whose cut-offs its position lies between."""
    total = torch.zeros_like(position)
    for k, gain in enumerate(gains):
        share = (1 - (position - k).abs()).clamp_min_(0)
        total += share * radial.filtered(spectrum, gain)
    return total


def _notes(positions: list[Tensor], cutoffs: list[float], maps: HalfMaps) -> dict[str, Any]:
    """Range of the cut-offs, and what was chosen inside the mask."""
    pixel, step = maps.pixel_size_angst, cutoffs[1] - cutoffs[0]
    inside = slice(None) if maps.mask is None else maps.mask > 0.5
    chosen = []
    for position in positions:
        levels = np.quantile(position[inside].flatten().cpu().double().numpy(), [0.05, 0.25, 0.5, 0.75, 0.95])
        chosen.append([pixel / (cutoffs[0] + step * float(level)) for level in levels])
    return {
        "coarsest_angst": pixel / cutoffs[0],
        "finest_angst": pixel / cutoffs[-1],
        "chosen_angst_at_5_25_50_75_95_percent": chosen,
    }


def cross_validated_filter(half1: Tensor, half2: Tensor) -> Tensor:
    """The free radial filter H(s) = 2 Re sum M1 M2* / sum (|M1|^2 + |M2|^2): (N // 2 + 1,) float64.

    It minimises |m1 - h m2|^2 + |m2 - h m1|^2 over all radial filters of (N, N, N) maps. Where both halves have the
    same power it is the FSC, hence the Wiener filter of a half-map.
    """
    box = half1.shape[-1]
    shell, n = shell_index_3d(box, half1.device), box // 2 + 1
    first, second = torch.fft.rfftn(half1), torch.fft.rfftn(half2)
    cross = shell_sum((first * second.conj()).real, shell, n)
    power = shell_sum(first.abs().square() + second.abs().square(), shell, n)
    return 2 * cross / power.clamp_min(torch.finfo(torch.float64).tiny)
