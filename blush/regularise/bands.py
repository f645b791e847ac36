"""Filters of |k| alone, and the Butterworth bands in which LAFTER and SIDESPLITTER take a map apart.

A band is what the filter of cut-off `high` passes and that of `low` does not. How much of a band is signal is measured
from both halves in real space, inside the mask, and the next band is made as wide as that share allows.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.grid import half_frequencies, signed_frequencies

ORDER = 8
FIRST_WIDTH = 0.025
"""Width of the first band, from 0, in cycles per voxel."""
NARROWEST_SHELLS = 0.25
"""Least width of a band in shells; anything narrower only repeats what its neighbours measured."""
CORE = 0.99
"""Mask values from which on a voxel counts in statistics."""


def butterworth(frequency: Tensor, cutoff: float) -> Tensor:
    """1 / sqrt(1 + (f / c)^16): amplitude of a Butterworth filter of order 8; nothing passes a cut-off of 0."""
    if cutoff <= 0:
        return torch.zeros_like(frequency)
    return (1 + (frequency / cutoff) ** (2 * ORDER)).rsqrt()


@dataclass(frozen=True)
class Radial:
    """Tables over |k|^2, which are small, spread over the transform of a map where they are applied.

    Attributes
    ----------
    k2
        (N, N, N // 2 + 1) int32, squared frequency in cycles per box of an rfftn array.
    frequency
        (3 (N // 2)^2 + 1,) float64, cycles per voxel of every value of `k2`.
    """

    box_px: int
    k2: Tensor
    frequency: Tensor

    @property
    def narrowest(self) -> float:
        """Least width of a band, in cycles per voxel."""
        return NARROWEST_SHELLS / self.box_px

    @classmethod
    def like(cls, volume: Tensor) -> Radial:
        """Tables for cubic maps as this one."""
        n, device = volume.shape[-1], volume.device
        y, x = signed_frequencies(n, device).int() ** 2, half_frequencies(n, device).int() ** 2
        values = torch.arange(3 * (n // 2) ** 2 + 1, device=device, dtype=torch.float64)
        return cls(n, y[:, None, None] + y[None, :, None] + x[None, None, :], values.sqrt() / n)

    def spread(self, gain: Tensor, dtype: torch.dtype) -> Tensor:
        """A table as an rfftn array."""
        return gain.to(dtype)[self.k2]

    def filtered(self, spectrum: Tensor, gain: Tensor) -> Tensor:
        """(N, N, N) map of a transform times a table."""
        return torch.fft.irfftn(spectrum * self.spread(gain, spectrum.real.dtype), s=(self.box_px,) * 3)


@dataclass(frozen=True)
class Band:
    """One band and what was measured in it.

    Attributes
    ----------
    low, high
        Cut-offs in cycles per voxel.
    noise, power
        Mean squares of the halves' difference and sum inside the mask.
    """

    low: float
    high: float
    noise: float
    power: float

    @property
    def width(self) -> float:
        """In cycles per voxel."""
        return self.high - self.low

    @property
    def signal(self) -> float:
        """Share of the sum's power that is signal, |1 - n / p|."""
        return abs(1 - self.noise / self.power)

    @property
    def flattening(self) -> float:
        """Factor that gives the band the power of its width, so that all frequencies count alike."""
        return self.width / self.power**0.5

    def gain(self, frequency: Tensor) -> Tensor:
        """What it passes, over frequency in cycles per voxel."""
        return butterworth(frequency, self.high) - butterworth(frequency, self.low)


def measured(low: float, high: float, first: Tensor, second: Tensor, core: Tensor) -> Band:
    """The band of two filtered halves, (N, N, N) each, over the voxels of `core`, (N, N, N) bool.

    Raises
    ------
    ValueError
        Where the halves have no power in it.
    """
    noise, power = (float((a[core]).double().square().mean()) for a in (first - second, first + second))
    if power <= 0:
        raise ValueError(f"the half-maps have no power between {low:g} and {high:g} cycles per voxel")
    return Band(low, high, noise, power)


def core_of(mask: Tensor) -> Tensor:
    """Voxels that statistics are taken over: (N, N, N) bool.

    Raises
    ------
    ValueError
        Where the mask is nowhere 1.
    """
    core = mask > CORE
    if not bool(core.any()):
        raise ValueError(f"no voxel of the mask exceeds {CORE}")
    return core
