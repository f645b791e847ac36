"""Translations of images: whole pixels in real space, fractions as phases."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.packed import Packed
from blush.kernels.shifts import phase_ramps


def phases(offsets_px: Tensor, pixels: Packed, n_pixels: int, dtype: torch.dtype) -> Tensor:
    """exp(-2 pi i (kx x + ky y) / N), planar: multiplying by it moves an image by +(x, y).

    Parameters
    ----------
    offsets_px
        (..., 2) x and y in pixels.

    Returns
    -------
    (..., 2, n_pixels): cosines, then sines; computed in float64.
    """
    return phase_ramps(offsets_px, pixels.kx[:n_pixels], pixels.ky[:n_pixels], pixels.box_px, dtype)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Product of planar complex arrays (..., 2, n)."""
    ar, ai = a.unbind(-2)
    br, bi = b.unbind(-2)
    return torch.stack((ar * br - ai * bi, ar * bi + ai * br), dim=-2)


def shift_whole_pixels(images: Tensor, offsets_px: Tensor) -> Tensor:
    """Move images by whole pixels; what enters from outside is zero (docs/algorithm.md, section 3).

    Parameters
    ----------
    images
        (n, h, w).
    offsets_px
        (n, 2) int64, x and y.
    """
    n, h, w = images.shape
    x = torch.arange(w, device=images.device) - offsets_px[:, :1]
    y = torch.arange(h, device=images.device) - offsets_px[:, 1:]
    inside = ((y >= 0) & (y < h))[:, :, None] & ((x >= 0) & (x < w))[:, None, :]
    image = torch.arange(n, device=images.device)[:, None, None]
    moved = images[image, y.clamp(0, h - 1)[:, :, None], x.clamp(0, w - 1)[:, None, :]]
    return torch.where(inside, moved, torch.zeros((), dtype=images.dtype, device=images.device))


def round_half_away(x: Tensor) -> Tensor:
    """Nearest integer, halves away from zero, as int64."""
    return (torch.sign(x) * torch.floor(x.abs() + 0.5)).long()
