"""Updates of noise spectra, group scales and offset width from the sums of a half-set (docs/algorithm.md, section 5).

numpy only: the convergence rule imports it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MIN_SIGMA2_OFFSET_ANGST2 = 2.0


def half_plane_counts(box_px: int) -> Floats:
    """Independent pixels of a real image's transform per rounded shell, 0 .. N/2."""
    half = box_px // 2
    ky = np.arange(-half + 1, half + 1)[:, None]
    kx = np.arange(half + 1)[None, :]
    kept = (kx > 0) | (ky >= 0)
    shell = np.floor(np.sqrt(kx**2 + ky**2) + 0.5).astype(int)
    return np.bincount(shell[kept], minlength=half + 1)[: half + 1].astype(np.float64)


def update_noise(residual: Floats, weight: Floats, previous: Floats) -> Floats:
    """sigma^2 per component: sum_w |X - P|^2 / (2 sum_w n_s); groups or shells without data keep the previous value.

    Parameters
    ----------
    residual, weight, previous
        (o, N/2 + 1), (o,), (o, N/2 + 1).
    """
    count = half_plane_counts(2 * (residual.shape[1] - 1))
    measured = residual / np.maximum(2 * weight[:, None] * count, np.finfo(float).tiny)
    return np.where((weight[:, None] > 0) & (measured > 0), measured, previous)


def update_scale(cross: Floats, power: Floats, previous: Floats, particles: NDArray[np.int64]) -> Floats:
    """Scale of each group, clamped to a fifth and five times the median, with a particle-weighted mean of 1.

    Parameters
    ----------
    cross, power
        (g,) sums of X P and P^2, P without the old scale.
    particles
        (g,) particles of each group in this half.
    """
    used = particles > 0
    if used.sum() < 2 or not np.any(power > 0):
        return previous
    scale = np.divide(cross, power, out=previous.astype(np.float64), where=power > 0)
    median = float(np.median(scale[used]))
    if median <= 0:
        return previous
    scale = np.clip(scale, median / 5, 5 * median)
    scale = scale / np.average(scale[used], weights=particles[used])
    return np.where(used, scale, 1.0)


def update_sigma_offset(square_angst2: float, weight: float) -> float:
    """Width of the offset prior per axis, in Angstrom."""
    return float(np.sqrt(max(square_angst2 / (2 * weight), MIN_SIGMA2_OFFSET_ANGST2)))
