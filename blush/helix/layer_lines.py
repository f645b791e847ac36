"""Layer lines: power of a map over frequencies along the filament's axis and across it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def layer_lines(volume: NDArray[np.float32]) -> Floats:
    """Mean power around the axis, as the mean over views at tilt 90 would show it.

    Parameters
    ----------
    volume
        (N, N, N) z, y, x, with the axis along z.

    Returns
    -------
    (N/2 + 1, N/2 + 1) by frequency along z and rounded frequency across, in cycles per box: mean |F|^2.

    References
    ----------
    Cochran, Crick & Vand 1952, doi:10.1107/S0365110X52001635, for the layer lines of a helix.
    """
    n = len(volume)
    half = n // 2
    spectrum = np.fft.rfftn(np.moveaxis(volume.astype(np.float64), 0, 2))  # (y, x, z/2)
    power = np.abs(spectrum) ** 2
    frequency = np.fft.fftfreq(n, 1 / n)
    ring = np.rint(np.hypot(frequency[:, None], frequency)).astype(np.int64).ravel()
    inside = ring <= half
    count = np.bincount(ring[inside], minlength=half + 1)
    rows = [np.bincount(ring[inside], power[..., k].ravel()[inside], half + 1) / count for k in range(half + 1)]
    return np.stack(rows)
