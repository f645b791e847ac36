"""Guinier plot, B-factor, detector response and FSC weighting of a final map."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.ctf.aberration import mtf_at
from blush.fourier.fsc import shell_average
from blush.fourier.grid import shell_index_3d

FSC_WEIGHT_LIMIT = 1e-4
"""FSC below which, from its first shell on, nothing is kept of a map."""


@dataclass(frozen=True)
class GuinierFit:
    """Straight line ln<|F|> = intercept + slope / d².

    Attributes
    ----------
    determination
        Square of the correlation.
    lowest_angst, highest_angst
        First and last shell that were fitted.
    """

    slope: float
    intercept: float
    determination: float
    lowest_angst: float
    highest_angst: float

    @property
    def bfactor_angst2(self) -> float:
        """B = 4 slope in Å², negative where amplitudes decay; multiplying by exp(-B / (4 d²)) undoes that decay."""
        return 4 * self.slope


def log_amplitudes(spectrum: Tensor, box: int) -> Tensor:
    """Logarithm of the mean |F| / N³ per shell of an rfftn array, -inf where a shell is empty: (N // 2 + 1,)."""
    amplitude = spectrum.abs() / box**3
    return shell_average(amplitude, shell_index_3d(box, spectrum.device), box // 2 + 1).log()


def inverse_square_resolution(box: int, pixel_size_angst: float) -> Tensor:
    """1/d² of each shell in Å⁻²: (box // 2 + 1,) float64."""
    return (torch.arange(box // 2 + 1, dtype=torch.float64) / (box * pixel_size_angst)) ** 2


def fit_guinier(
    log_amplitude: Tensor, inverse_d2: Tensor, lowres_angst: float, highres_angst: float = 0.0
) -> GuinierFit | None:
    """Least-squares line through the Guinier plot.

    Parameters
    ----------
    log_amplitude, inverse_d2
        (s,) ln<|F|> and 1/d² in Å⁻²; shells without amplitude are left out.
    lowres_angst, highres_angst
        Range of the fit; 0 at the high end is Nyquist.

    Returns
    -------
    None where fewer than three shells are left: no line can be told from them.

    References
    ----------
    Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013
    """
    highest = 1 / highres_angst**2 + 1e-12 if highres_angst > 0 else math.inf
    used = torch.isfinite(log_amplitude) & (inverse_d2 >= 1 / lowres_angst**2 - 1e-12) & (inverse_d2 <= highest)
    x, y = inverse_d2[used], log_amplitude[used].to(inverse_d2)
    if len(x) < 3:
        return None
    dx, dy = x - x.mean(), y - y.mean()
    slope = float((dx * dy).sum() / dx.square().sum())
    spread = float(dx.square().sum() * dy.square().sum())
    determination = float((dx * dy).sum()) ** 2 / spread if spread > 0 else 0.0
    ends = (float(x[0]) ** -0.5, float(x[-1]) ** -0.5)
    return GuinierFit(slope, float(y.mean()) - slope * float(x.mean()), determination, *ends)


def fsc_weight(corrected: Tensor) -> Tensor:
    """sqrt(2 F / (1 + F)), the figure of merit of the average of two halves; 0 from the first F < 1e-4 on.

    References
    ----------
    Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013
    """
    kept = torch.cumsum(corrected < FSC_WEIGHT_LIMIT, 0) == 0
    safe = corrected.clamp_min(FSC_WEIGHT_LIMIT)
    return torch.where(kept, (2 * safe / (1 + safe)).sqrt(), 0.0)


def mtf_response(
    frequency: Tensor, original_pixel_size_angst: float, table_frequency: Tensor, table_value: Tensor
) -> Tensor:
    """Detector response at any `frequency` in Å⁻¹, from its table in cycles per pixel of the micrograph."""
    response = mtf_at(frequency.flatten() * original_pixel_size_angst, table_frequency.to(frequency), table_value)
    return response.view_as(frequency).to(frequency)


def bfactor_weight(frequency: Tensor, bfactor_angst2: float) -> Tensor:
    """exp(-B k² / 4) at any `frequency` k in Å⁻¹."""
    return torch.exp(-bfactor_angst2 / 4 * frequency.square())
