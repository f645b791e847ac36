"""Figures of one denoised pair, shell by shell and voxel by voxel, and their means over structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.fsc import fsc, shell_sum
from blush.fourier.grid import shell_index_3d
from blush.training.eval_maps import TestPair

Floats = NDArray[np.float64]
EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Figures:
    """One method on one pair; curves are (N / 2 + 1,).

    Attributes
    ----------
    input_fsc
        That of the halves, in the mask.
    to_signal, to_signal_masked
        FSC of the denoised half 1 with the signal; None without one.
    to_other_half
        FSC of the denoised half 1 with the raw half 2.
    slope
        Re sum D T* / sum |T|².
    error_inside, error_outside
        Sum of squared differences from the signal, in the mask and out of it.
    """

    input_fsc: Floats
    to_other_half: Floats
    to_signal: Floats | None = None
    to_signal_masked: Floats | None = None
    slope: Floats | None = None
    error_inside: float | None = None
    error_outside: float | None = None


def measure(pair: TestPair, denoised: Tensor) -> Figures:
    """Figures of a denoised half 1."""
    mask = pair.mask
    curve = _curve(pair.halves[0] * mask, pair.halves[1] * mask)
    other = _curve(denoised, pair.halves[1])
    if pair.signal is None:
        return Figures(curve, other)
    signal = pair.signal
    error = (denoised - signal).square()
    return Figures(
        input_fsc=curve,
        to_other_half=other,
        to_signal=_curve(denoised, signal),
        to_signal_masked=_curve(denoised * mask, signal * mask),
        slope=slopes(denoised, signal),
        error_inside=float((error * mask).sum()),
        error_outside=float((error * (1 - mask)).sum()),
    )


def _curve(first: Tensor, second: Tensor) -> Floats:
    return np.nan_to_num(fsc(first, second).cpu().numpy().astype(np.float64))


def slopes(denoised: Tensor, signal: Tensor) -> Floats:
    """Amplitude of the signal in a map, per shell."""
    box = signal.shape[-1]
    d, t = torch.fft.rfftn(denoised), torch.fft.rfftn(signal)
    shell, n = shell_index_3d(box, signal.device), box // 2 + 1
    power = shell_sum(t.abs().square(), shell, n).clamp_min(1e-30)
    return (shell_sum((d * t.conj()).real, shell, n) / power).cpu().numpy().astype(np.float64)


def by_bin(input_fsc: Floats, values: Floats) -> list[float | None]:
    """Mean of a curve over the shells of each bin of the input's FSC, shell 0 left out."""
    inside = np.clip(np.digitize(input_fsc[1:], EDGES) - 1, -1, len(EDGES) - 2)
    found = [values[1:][inside == number] for number in range(len(EDGES) - 1)]
    return [float(part.mean()) if len(part) else None for part in found]


def interval(values: Sequence[float], draws: int, seed: int) -> dict[str, Any]:
    """Mean over structures, and its interval by bootstrap."""
    array = np.asarray(values, dtype=np.float64)
    if not len(array):
        return {"mean": None, "low": None, "high": None, "n": 0}
    random = np.random.default_rng([seed, len(array)])
    means = array[random.integers(len(array), size=(draws, len(array)))].mean(1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"mean": float(array.mean()), "low": float(low), "high": float(high), "n": len(array)}


def binned(rows: Sequence[list[float | None]], draws: int, seed: int) -> list[dict[str, Any]]:
    """Interval of each bin over structures that have shells in it."""
    columns = zip(*rows, strict=True) if rows else ()
    return [interval([value for value in column if value is not None], draws, seed) for column in columns]
