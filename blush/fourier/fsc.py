"""Fourier shell correlation, spectra by shell, and the resolution at a threshold.

Sums run over the whole rfftn array as it is stored, like RELION's: a Friedel pair counts once where x > 0 and twice
on the plane x = 0, in numerator and denominator alike (docs/algorithm.md, section 7).
"""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.grid import resolution_angst, shell_index_3d


def shell_sum(values: Tensor, shell_index: Tensor, n_shells: int) -> Tensor:
    """Sum of `values` (..., *shell_index.shape) over each shell below `n_shells`, in float64: (..., n_shells)."""
    shell = shell_index.clamp_max(n_shells).flatten()
    batch = values.shape[: values.ndim - shell_index.ndim]
    out = torch.zeros(*batch, n_shells + 1, dtype=torch.float64, device=values.device)
    return out.index_add_(-1, shell, values.reshape(*batch, -1).double())[..., :n_shells]


def shell_average(power: Tensor, shell_index: Tensor, n_shells: int) -> Tensor:
    """Mean of `power` over each shell below `n_shells`, in float64; 0 where a shell is empty: (..., n_shells)."""
    count = shell_sum(torch.ones(shell_index.shape, device=power.device), shell_index, n_shells)
    return shell_sum(power, shell_index, n_shells) / count.clamp_min(1)


def power_spectrum(volume: Tensor) -> Tensor:
    """Mean |F|^2 per shell of a cubic map, with the unnormalised forward transform: (N // 2 + 1,) float64."""
    box = volume.shape[-1]
    power = torch.fft.rfftn(volume).abs().square()
    return shell_average(power, shell_index_3d(box, volume.device), box // 2 + 1)


def fsc(vol1: Tensor, vol2: Tensor) -> Tensor:
    """Fourier shell correlation of two cubic maps.

    Parameters
    ----------
    vol1, vol2
        (N, N, N) real, of any N.

    Returns
    -------
    (N // 2 + 1,) float64 for shells 0 .. N // 2; 0 in a shell where either map has no power.

    Raises
    ------
    ValueError
        If the maps differ in size or are not cubic.

    References
    ----------
    Harauz & van Heel 1986, Optik 73:146.
    """
    if vol1.shape != vol2.shape or len(set(vol1.shape)) != 1 or vol1.ndim != 3:
        raise ValueError(f"FSC needs two cubic maps of one size, not {tuple(vol1.shape)} and {tuple(vol2.shape)}")
    return fsc_of_transforms(torch.fft.rfftn(vol1), torch.fft.rfftn(vol2), vol1.shape[0])


def fsc_of_transforms(first: Tensor, second: Tensor, box: int) -> Tensor:
    """FSC of rfftn arrays (..., box, box, box // 2 + 1) of maps of `box` voxels: (..., box // 2 + 1) float64."""
    shell, n = shell_index_3d(box, first.device), box // 2 + 1
    cross = shell_sum((first * second.conj()).real, shell, n)
    # Each root on its own: the product of two powers leaves the range of float32 inputs' squares.
    norm = shell_sum(first.abs().square(), shell, n).sqrt() * shell_sum(second.abs().square(), shell, n).sqrt()
    return torch.where(norm > 0, cross / norm.clamp_min(torch.finfo(norm.dtype).tiny), 0.0)


def last_shell_above(curve: Tensor, threshold: float) -> int:
    """Last shell before `curve` first falls below `threshold`, from shell 1 on; 0 if shell 1 is below already."""
    below = torch.nonzero(curve[1:] < threshold)
    return int(below[0]) if len(below) else len(curve) - 1


def resolution_at(curve: Tensor, threshold: float, box: int, pixel_size_angst: float) -> float:
    """Resolution in Å of the last shell before the curve first falls below `threshold`.

    Returns
    -------
    Å; Nyquist if the curve never falls, infinity if it is below in the first shell already.
    """
    return resolution_angst(last_shell_above(curve, threshold), box, pixel_size_angst)


def interpolated_resolution_at(curve: Tensor, threshold: float, box: int, pixel_size_angst: float) -> float:
    """Resolution in Å where the line between shells first crosses `threshold`; limits as `resolution_at`."""
    shell = last_shell_above(curve, threshold)
    if shell == len(curve) - 1 or shell == 0:
        return resolution_angst(shell, box, pixel_size_angst)
    above, below = float(curve[shell]), float(curve[shell + 1])
    return resolution_angst(shell + (above - threshold) / (above - below), box, pixel_size_angst)
