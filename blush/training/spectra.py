"""Filters and noise of half-maps as arrays over the frequencies of a patch, a batch of patches at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SEVENTH = math.log(7)
LEAST_COVERAGE = 0.05
PATTERNS, PLANES = 8, 32


@dataclass(frozen=True)
class Frequencies:
    """Coordinates of an rfftn array of cubic patches.

    Attributes
    ----------
    x, y, z
        Broadcastable to (s, s, s / 2 + 1), in 1/Å.
    squared
        (s, s, s / 2 + 1) sum of their squares.
    """

    side_px: int
    voxel_size_angst: float
    x: Tensor
    y: Tensor
    z: Tensor
    squared: Tensor

    def along(self, axes: Tensor) -> Tensor:
        """Component along unit vectors (b, 3), x y z: (b, s, s, s / 2 + 1)."""
        a = axes.to(self.squared)[:, :, None, None, None]
        return a[:, 0] * self.x + a[:, 1] * self.y + a[:, 2] * self.z


@lru_cache(maxsize=8)
def frequencies(side_px: int, voxel_size_angst: float, device: str) -> Frequencies:
    """Frequencies of patches of a side."""
    full = torch.fft.fftfreq(side_px, voxel_size_angst, device=device)
    half = torch.fft.rfftfreq(side_px, voxel_size_angst, device=device)
    x, y, z = half[None, None, :], full[None, :, None], full[:, None, None]
    return Frequencies(side_px, voxel_size_angst, x, y, z, x**2 + y**2 + z**2)


def per_patch(values: Sequence[float], like: Tensor) -> Tensor:
    """Numbers of a batch as (b, 1, 1, 1)."""
    return torch.tensor(values, dtype=like.dtype, device=like.device)[:, None, None, None]


def gaussian(grid: Frequencies, d_angst: Sequence[float], axes: Tensor, ratio: Sequence[float]) -> Tensor:
    """Gaussians that are 1/7 at frequency 1/d along an axis, and at ratio/d across it: (b, s, s, s / 2 + 1).

    With ratios of at least 1 the axis is the direction that is blurred most (Kimanius et al. 2024, matrix C).
    """
    along = grid.along(axes).square()
    stretch = per_patch(ratio, along) ** -2
    exponent = along + (grid.squared - along) * stretch
    return torch.exp(-SEVENTH * per_patch(d_angst, along) ** 2 * exponent)


def bfactor(grid: Frequencies, bfactor_angst2: Sequence[float]) -> Tensor:
    """exp(-B f²/4): (b, s, s, s / 2 + 1)."""
    return torch.exp(-per_patch(bfactor_angst2, grid.squared) / 4 * grid.squared)


def coloured(grid: Frequencies, power: Sequence[float], corner: Sequence[float]) -> Tensor:
    """Power 0.05 + (f/corner)^p: (b, s, s, s / 2 + 1)."""
    exponent = per_patch(power, grid.squared) / 2
    return 0.05 + (grid.squared * per_patch(corner, grid.squared) ** -2) ** exponent


def low_rise(grid: Frequencies, corner: Sequence[float]) -> Tensor:
    """Factor 1 + (corner/f)² of noise where contrast transfer is weak; a corner of 0 leaves it 1."""
    least = (1 / (grid.side_px * grid.voxel_size_angst)) ** 2
    return 1 + per_patch(corner, grid.squared) ** 2 / grid.squared.clamp_min(least)


def coverage(grid: Frequencies, axes: Tensor, depth: Sequence[float], narrow: Sequence[float]) -> Tensor:
    """How often each direction of Fourier space was seen when views gather around an axis, 1 on the average.

    Views along an axis see the plane across it. A share 1 - depth of the views is uniform.
    """
    cosine2 = grid.along(axes).square() / grid.squared.clamp_min(1e-12)
    seen = torch.exp(-per_patch(narrow, cosine2) * cosine2)
    seen = seen / seen.mean((1, 2, 3), keepdim=True)
    share = per_patch(depth, seen)
    return (1 - share + share * seen).clamp_min(LEAST_COVERAGE)


@lru_cache(maxsize=8)
def streaks(side_px: int, device: str) -> Tensor:
    """Which frequencies lie in some of a few random central slices: (patterns, s, s, s / 2 + 1), 1 on the average.

    What an overfitted refinement leaves: noise on the slices of single images.
    """
    grid = frequencies(side_px, 1.0, "cpu")
    normals = np.random.default_rng(side_px).standard_normal((PATTERNS, PLANES, 3))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    made = []
    for planes in torch.from_numpy(normals).float():
        distance = grid.along(planes).abs() * side_px
        pattern = (distance < 0.6).float().sum(0)
        made.append(pattern / pattern.mean())
    return torch.stack(made).to(device)


def at_frequency(spectrum: Tensor, frequency: float, box_px: int, voxel_size_angst: float) -> float:
    """Value of a shell spectrum at a frequency in 1/Å."""
    shell = min(max(round(frequency * box_px * voxel_size_angst), 1), len(spectrum) - 1)
    return float(spectrum[shell])
