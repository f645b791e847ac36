"""Spectral trailing and cross-over: how far a regularised reference may go.

Kimanius et al. 2024 (doi:10.1038/s41592-024-02304-8): the cut-off stays two shells behind the first shell whose
half-map FSC is below 1/7. A method with a Nyquist frequency of its own knows nothing beyond it; there the Wiener map
takes over.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.grid import radius_3d
from blush.fourier.mask import soft_sphere

FSC_LIMIT = 1 / 7
EDGE_SHELLS = 2.0
CROSS_OVER_SHELLS = 2
"""Shells below a method's Nyquist frequency where the Wiener map takes over."""
SPHERE_EDGE_PX = 5.0


def cut_shell(fsc: NDArray[np.float64], shells: int) -> int:
    """Shell at which references are cut: `shells` below the first one with FSC < 1/7, at least 1."""
    return max(1, first_below(fsc) - shells)


def first_below(fsc: NDArray[np.float64]) -> int:
    """First shell with FSC < 1/7, from shell 1 on; as many as there are shells where none is."""
    below = np.flatnonzero(fsc[1:] < FSC_LIMIT)
    return int(below[0]) + 1 if below.size else len(fsc)


def cross_over_shell(box_px: int, pixel_size_angst: float, nyquist_angst: float | None) -> int | None:
    """Shell from which on the Wiener map takes over; None where the method works as finely as the map."""
    if nyquist_angst is None or nyquist_angst <= 2 * pixel_size_angst:
        return None
    return max(1, math.floor(box_px * pixel_size_angst / nyquist_angst) - CROSS_OVER_SHELLS)


def pass_below(volume: Tensor, cut: int) -> Tensor:
    """Pass |k| up to `cut` - 1, half at `cut`, nothing from `cut` + 1 on; a raised cosine between."""
    gain = raised_cosine(radius_3d(volume.shape[0], volume.device), float(cut), EDGE_SHELLS).to(volume.dtype)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=volume.shape)


def trail(volume: Tensor, cut: int, cross_over: int | None, wiener: Tensor | None, radius_px: float) -> Tensor:
    """A reference held behind the measured resolution, `cut`, and its method's Nyquist frequency, `cross_over`.

    Parameters
    ----------
    volume
        (N, N, N) regularised reference.
    cross_over
        None where the method works as finely as the map, or where `cut` is below it.
    wiener
        (N, N, N) Wiener map of the same half, for what is beyond the cross-over.
    radius_px
        That of the particle's sphere, outside of which nothing is taken from the Wiener map.
    """
    if cross_over is None or wiener is None or cut <= cross_over:
        return pass_below(volume, cut)
    sphere = soft_sphere(volume.shape[0], radius_px, SPHERE_EDGE_PX, volume.device, volume.dtype)
    outside = wiener * sphere
    return pass_below(volume, cross_over) + outside - pass_below(outside, cross_over)
