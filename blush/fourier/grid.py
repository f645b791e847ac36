"""Frequencies and rounded shells of `torch.fft.rfftn` arrays.

Shells are |k| rounded half away from zero, floor(|k| + 1/2): a rule that rounds halves to even moves frequencies
between shells (docs/algorithm.md, section 1). Coordinates of real space count from the centre voxel N // 2.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


def signed_frequencies(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Frequencies in cycles per box in the order of `torch.fft.fft`: 0 .. , then negative; (box,) int64."""
    k = torch.arange(box, device=device)
    return torch.where(k < (box + 1) // 2, k, k - box)


def half_frequencies(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Frequencies 0 .. box // 2 of the last axis of `torch.fft.rfft`; int64."""
    return torch.arange(box // 2 + 1, device=device)


def radius_2d(box: int, device: torch.device | str = "cpu") -> Tensor:
    """|k| in cycles per box of an rfft2 array: (box, box // 2 + 1) float64."""
    y, x = signed_frequencies(box, device) ** 2, half_frequencies(box, device) ** 2
    return (y[:, None] + x[None, :]).double().sqrt()


def radius_3d(box: int, device: torch.device | str = "cpu") -> Tensor:
    """|k| in cycles per box of an rfftn array: (box, box, box // 2 + 1) float64."""
    y, x = signed_frequencies(box, device) ** 2, half_frequencies(box, device) ** 2
    return (y[:, None, None] + y[None, :, None] + x[None, None, :]).double().sqrt()


def shell_index_2d(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Rounded shell of each coefficient of an rfft2 array: (box, box // 2 + 1) int64; corners exceed box // 2."""
    return _shells(box, 2, str(device))


def shell_index_3d(box: int, device: torch.device | str = "cpu") -> Tensor:
    """Rounded shell of each coefficient of an rfftn array: (box, box, box // 2 + 1) int64; corners exceed box // 2."""
    return _shells(box, 3, str(device))


@lru_cache(maxsize=4)
def _shells(box: int, ndim: int, device: str) -> Tensor:
    radius = radius_2d(box, device) if ndim == 2 else radius_3d(box, device)
    return torch.floor(radius + 0.5).long()


def centred_radius(box: int, ndim: int = 3, device: torch.device | str = "cpu") -> Tensor:
    """Distance of each pixel or voxel from the centre box // 2, in pixels: (box,) * ndim float64."""
    x = (torch.arange(box, device=device, dtype=torch.float64) - box // 2) ** 2
    square = x
    for _ in range(ndim - 1):
        square = square[..., None] + x
    return square.sqrt()


def resolution_angst(shell: float, box: int, pixel_size_angst: float) -> float:
    """Resolution in Å of a shell; infinite at the origin."""
    return box * pixel_size_angst / shell if shell > 0 else float("inf")
