"""Amplitudes of a reference by cross-validation, for denoisers whose own amplitudes mean nothing.

A network that was trained on correlations alone (as crefDenoiser) may scale every shell at will. The half it has not
seen says what scale is right: the factor that makes the denoised half predict the other half best.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.fsc import shell_sum
from blush.fourier.grid import shell_index_3d

SMOOTHING_SHELLS = 3
EMPTY = 1e-6
"""Share of the half-map's power below which a shell of the denoised map is empty: rounding has no right amplitude."""


def cross_validated_gain(denoised: tuple[Tensor, Tensor], halves: tuple[Tensor, Tensor]) -> Tensor:
    """Factor per shell, a(s) = max(0, Re sum D1 M2* / sum |D1|^2), its mirror averaged in, smoothed over 3 shells.

    Parameters
    ----------
    denoised
        (N, N, N) of each half, from that half alone.
    halves
        (N, N, N) unregularised half-maps.

    Returns
    -------
    (N // 2 + 1,) float64, 0 in shells that the method left empty. Both halves get the same factors.
    """
    box = denoised[0].shape[-1]
    shell, n = shell_index_3d(box, denoised[0].device), box // 2 + 1
    spectra = [torch.fft.rfftn(volume) for volume in (*denoised, *halves)]
    pairs = ((spectra[0], spectra[2], spectra[3]), (spectra[1], spectra[3], spectra[2]))
    first, second = (_least_squares(*parts, shell, n) for parts in pairs)
    return _smoothed((first + second) / 2)


def _least_squares(denoised: Tensor, own: Tensor, other: Tensor, shell: Tensor, n: int) -> Tensor:
    """Factor per shell by which a half's denoised transform predicts the other half best."""
    power, given = (shell_sum(values.abs().square(), shell, n) for values in (denoised, own))
    cross = shell_sum((denoised * other.conj()).real, shell, n)
    factor = (cross / power.clamp_min(torch.finfo(torch.float64).tiny)).clamp_min(0)
    return torch.where(power > EMPTY * given, factor, torch.zeros_like(factor))


def _smoothed(gain: Tensor) -> Tensor:
    """Running mean, its window cut at both ends."""
    ones = torch.ones(1, 1, SMOOTHING_SHELLS, dtype=gain.dtype, device=gain.device)

    def window(values: Tensor) -> Tensor:
        return torch.nn.functional.conv1d(values[None, None], ones, padding=SMOOTHING_SHELLS // 2)[0, 0]

    return window(gain) / window(torch.ones_like(gain))
