"""Radial statistics of the back-projected sums, and the signal and noise spectra that follow.

See docs/algorithm.md, section 5.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.compaction import number_of_each
from blush.fourier.grid import shell_index_3d
from blush.fourier.transform import sphere_k2

Floats = NDArray[np.float64]
LOWEST_FSC, HIGHEST_FSC = 0.001, 0.999


def shells_of_cells(sums: Accumulator, *, floor: bool = False) -> Tensor:
    """Unpadded shell of every cell, rounded half up (or down): (d, d, h) int32; r_max + 1 from the rim on.

    RELION leaves cells at |k| = pad r_max exactly out of spectra and maps (measured against 3.1.3).
    """
    # By a table over |k|^2: the arithmetic of every cell would take eight times the memory of the sums.
    k2 = torch.arange(3 * sums.radius**2 + 1, device=sums.grid.device)
    radius = k2.double().sqrt() / sums.pad
    shell = (radius if floor else radius + 0.5).floor().to(torch.int32).clamp_max(sums.r_max)
    shell = shell.masked_fill(k2 >= (sums.pad * sums.r_max) ** 2, sums.r_max + 1)
    return shell[sphere_k2(sums.radius, sums.grid.device)]


def radial_average(values: Tensor, shell: Tensor, n_shells: int) -> Tensor:
    """Mean over cells of each shell in float64, 0 for shells without any: (n_shells,)."""
    flat = shell.flatten().clamp_max(n_shells)
    total = torch.zeros(n_shells + 1, dtype=torch.float64, device=values.device)
    total.index_add_(0, flat, values.flatten().double())
    return (total / number_of_each(flat, n_shells + 1).clamp_min(1))[:n_shells]


def reference_noise(sums: Accumulator) -> Floats:
    """sigma^2 of the reconstruction per component and shell, 1 / (pad^3 <W>); 0 beyond r_max: (N/2 + 1,)."""
    average = radial_average(sums.weight, shells_of_cells(sums), sums.r_max + 1).cpu().numpy()
    out = np.zeros(sums.box_px // 2 + 1)
    measured = average > 0
    out[: sums.r_max + 1][measured] = 1 / (sums.pad**3 * average[measured])
    return out


def signal_to_noise(fsc: Floats, *, joined: bool) -> Floats:
    """SSNR = F/(1 - F) of a half-map, or of the joined map with F = sqrt(2 FSC/(1 + FSC)); F within 0.001 .. 0.999."""
    f = np.maximum(LOWEST_FSC, fsc)
    if joined:
        f = np.sqrt(2 * f / (1 + f))
    f = np.minimum(HIGHEST_FSC, f)
    return f / (1 - f)


def expected_signal_to_noise(volume: Tensor, noise: Floats, n_images: float) -> Floats:
    """SSNR that a map will have when `n_images` are in it, before any is: (N/2 + 1,); CTFs are left out.

    A shell s of the map has 2 s times the components of that shell of an image, so each is seen by n / (2 s) images.

    Parameters
    ----------
    volume
        (N, N, N) on the grey scale of the images.
    noise
        (N/2 + 1,) variance per component of an image.
    """
    box = volume.shape[-1]
    power = (torch.fft.rfftn(volume.double()).abs() / box**2).square() / 2
    tau2 = radial_average(power, shell_index_3d(box, volume.device), box // 2 + 1).cpu().numpy()
    seen = n_images / np.maximum(2 * np.arange(box // 2 + 1), 1)
    ssnr: Floats = tau2 * seen / noise
    return ssnr
