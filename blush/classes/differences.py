"""Differences between classes, as two halves of the images show them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from blush.classes.halves import Half
from blush.fourier.fsc import fsc

SMALLEST_SHARE = 0.02
"""Fraction of a half's images below which a class has no map to take a difference from: it would be its few images."""


@dataclass(frozen=True)
class Difference:
    """Map of one class less that of another.

    Attributes
    ----------
    classes
        From 0.
    volume
        (N, N, N), mean of the two halves.
    fsc
        (N/2 + 1,) Fourier shell correlation of the two halves' differences.
    correlation
        Correlation of the two differences over all voxels.
    """

    classes: tuple[int, int]
    volume: Tensor
    fsc: list[float]
    correlation: float

    @property
    def label(self) -> str:
        """The two classes, from 1."""
        return f"{self.classes[0] + 1} - {self.classes[1] + 1}"


def differences(halves: tuple[Half, Half]) -> list[Difference]:
    """Differences of all pairs of classes that hold enough images in both halves."""
    one, two = halves
    large = [k for k in range(one.n_classes) if min(h.divided.share[k] for h in halves) > SMALLEST_SHARE]
    found = []
    for a, b in combinations(large, 2):
        first, second = (_difference(half.divided.maps[a], half.divided.maps[b]) for half in (one, two))
        norm = float(first.square().sum().sqrt() * second.square().sum().sqrt())
        correlation = float((first * second).sum()) / norm if norm > 0 else 0.0
        volume = ((first + second) / 2).float().cpu()
        found.append(Difference((a, b), volume, fsc(first, second).tolist(), correlation))
    return found


def _difference(first: Tensor, second: Tensor) -> Tensor:
    """One map less another one that is brought to its amplitude, without what both have: float64."""
    first, second = first.double(), second.double()
    power = (second * second).sum()
    amplitude = (first * second).sum() / torch.where(power > 0, power, 1.0)
    return first - amplitude * second
