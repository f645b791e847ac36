"""Filters of maps by shell, and resampling to another pixel size and box."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from blush.fourier.grid import radius_3d, shell_index_3d


def raised_cosine(radius: Tensor, centre: float, width: float) -> Tensor:
    """1 below centre - width/2, 0 above centre + width/2, half a cosine between; a step where the width is 0."""
    if width <= 0:
        return (radius <= centre).to(radius.dtype)
    phase = ((radius - centre) / width + 0.5).clamp(0, 1)
    return 0.5 + 0.5 * torch.cos(math.pi * phase)


def low_pass(volume: Tensor, resolution_angst: float, pixel_size_angst: float, edge_shells: float = 2) -> Tensor:
    """Low-pass filter with a raised-cosine edge centred on the shell of `resolution_angst`.

    Parameters
    ----------
    volume
        (N, N, N) real.
    edge_shells
        Width of the edge from 1 to 0, in shells; the filter is 1/2 at N a / resolution.
    """
    box = volume.shape[-1]
    centre = box * pixel_size_angst / resolution_angst
    weight = raised_cosine(radius_3d(box, volume.device), centre, edge_shells)
    return torch.fft.irfftn(torch.fft.rfftn(volume) * weight.to(volume.dtype), s=volume.shape)


def multiply_shells(volume: Tensor, factor: Tensor) -> Tensor:
    """Multiply each rounded shell of a cubic map by `factor` (N // 2 + 1,); corners beyond it become zero."""
    shell = shell_index_3d(volume.shape[-1], volume.device)
    padded = torch.cat([factor, factor.new_zeros(1)]).to(volume)
    weight = padded[shell.clamp_max(len(factor))]
    return torch.fft.irfftn(torch.fft.rfftn(volume) * weight, s=volume.shape)


def resize_volume(volume: Tensor, pixel_from_angst: float, box_to: int, pixel_to_angst: float) -> Tensor:
    """Resample a map to another pixel size and box by trigonometric interpolation, centre voxel onto centre voxel.

    Exact for any ratio of pixel sizes where the map is band-limited; frequencies beyond the new Nyquist are removed.
    For equal pixel sizes this crops or pads; for `box_to` a_to = N a_from it is Fourier
    cropping or padding. Densities keep their values. Beyond the old box the map continues with its border's mean.

    Parameters
    ----------
    volume
        (N, N, N) real; even or odd N.

    Returns
    -------
    (box_to, box_to, box_to), dtype and device of the input.
    """
    box_from = volume.shape[-1]
    border = _border_mean(volume)
    kernel = _interpolation(box_from, box_to, pixel_to_angst / pixel_from_angst, volume)
    moved = volume - border
    for _ in range(3):  # each pass resamples the last axis and brings it to the front; the third restores z y x
        moved = (moved @ kernel.T).permute(2, 0, 1)
    return moved.contiguous() + border


def _interpolation(box_from: int, box_to: int, step: float, like: Tensor) -> Tensor:
    """Weights (box_to, box_from) of periodic band-limited interpolation at every `step` old voxels; 0 outside."""
    device = like.device
    position = (torch.arange(box_to, dtype=torch.float64, device=device) - box_to // 2) * step + box_from // 2
    distance = position[:, None] - torch.arange(box_from, dtype=torch.float64, device=device)
    limit = min(box_from / 2, box_from / (2 * step))
    k = torch.arange(1, math.floor(limit + 1e-9) + 1, dtype=torch.float64, device=device)
    weight = torch.where(2 * k == box_from, 0.5, 1.0)  # an even box stores both signs of its Nyquist frequency as one
    waves = torch.cos(2 * math.pi / box_from * distance[..., None] * k)
    kernel = (1 + 2 * (waves * weight).sum(-1)) / box_from
    from_centre = position - box_from // 2
    inside = (from_centre > -box_from / 2 - 1e-9) & (from_centre < box_from / 2 - 1e-9)
    return torch.where(inside[:, None], kernel, 0.0).to(like.dtype)


def _border_mean(volume: Tensor) -> Tensor:
    """Mean over the six faces."""
    faces = [volume.select(axis, side).double().mean() for axis in range(3) for side in (0, -1)]
    return torch.stack(faces).mean().to(volume.dtype)


def gaussian(volume: Tensor, sigma_px: float) -> Tensor:
    """Average over a Gaussian of standard deviation `sigma_px` about every voxel of a periodic map (N, N, N)."""
    radius = radius_3d(volume.shape[0], volume.device).to(volume.dtype)
    weight = torch.exp(-2 * (math.pi * sigma_px / volume.shape[0] * radius).square())
    return torch.fft.irfftn(torch.fft.rfftn(volume) * weight, s=volume.shape)
