"""Which of several models explains filaments better that had no part in it: differences of log evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SURE = 3.0
"""Standard errors from which a difference is one."""
LEAST_BETWEEN_RUNS = 1.0
"""Difference of a segment below which that of two refinements is none: two of one symmetry differed by 0.5, by what
chance made of their maps, which all filaments of a half share and no scatter between them shows."""


@dataclass(frozen=True)
class Compared:
    """A model against another one.

    Attributes
    ----------
    per_filament
        (filaments,) ln of how many times more probable the model makes each filament than the other model does.
    half
        (filaments,) 1 or 2: filaments of a half are told by the map of the other half.
    least
        Total below which a difference is none, whatever its error.
    """

    per_filament: Floats
    half: NDArray[np.int64]
    least: float = 0.0

    @property
    def total(self) -> float:
        """Of all filaments, in natural logarithms."""
        return float(self.per_filament.sum())

    @property
    def error(self) -> float:
        """Standard error of the total, by how much filaments of a half differ; infinite for a single one."""
        parts = [self.per_filament[self.half == number] for number in np.unique(self.half)]
        if any(len(part) < 2 for part in parts):
            return float("inf")
        return float(np.sqrt(sum(len(part) * part.var(ddof=1) for part in parts)))

    @property
    def by_half(self) -> tuple[float, float]:
        """Totals of the filaments of each half."""
        first, second = (float(self.per_filament[self.half == number].sum()) for number in (1, 2))
        return first, second

    @property
    def verdict(self) -> str:
        """`better`, `worse` or `not told apart`: beyond 3 standard errors and `least`, and the same in both halves."""
        first, second = self.by_half
        if first * second <= 0 or abs(self.total) < max(SURE * self.error, self.least):
            return "not told apart"
        return "better" if self.total > 0 else "worse"


def compare(
    log_gain: Floats, other: Floats, filament: NDArray[np.int64], half: NDArray[np.int64], *, one_run: bool = True
) -> Compared:
    """Compare two models by what each gives to the images of filaments.

    Parameters
    ----------
    log_gain, other
        (n,) log evidence of each image under either model.
    filament, half
        (n,) filament of each image from 0, and the half that it is in.
    one_run
        Whether both models come from one refinement.
    """
    _, first, which = np.unique(filament, return_index=True, return_inverse=True)
    per_filament = np.bincount(which, log_gain - other).astype(np.float64)
    least = 0.0 if one_run else LEAST_BETWEEN_RUNS * len(log_gain)
    return Compared(per_filament, half[first].astype(np.int64), least)
