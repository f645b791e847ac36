"""Sums of several classes by fold, and the halves that folds make up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from blush.fourier.backproject import Accumulator
from blush.maximization.cells import Cells, CellSums, add
from blush.maximization.halves import fsc_of_near, near_sums

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ClassSums:
    """D and W of every class, fold by fold; the first half of the folds are the images of half-map 1.

    Attributes
    ----------
    folds
        Sums by fold, then by class, symmetrised; all on the same cells.
    apart
        Whether what is made without a fold is of its own half alone, so that halves stay independent.
    """

    folds: Sequence[Sequence[CellSums]]
    apart: bool = False

    @classmethod
    def pack(
        cls, folds: Iterable[Iterable[Accumulator]], map_px: int | None = None, *, apart: bool = False
    ) -> ClassSums:
        """Sums by fold, then by class, one after the other: each is let go before the next is asked for.

        Parameters
        ----------
        map_px
            Voxels along the maps that are made of them; None: as many as images have pixels.
        """
        return cls([[Cells.of(one, map_px).pack(one) for one in fold] for fold in folds], apart)

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.folds[0])

    @property
    def cells(self) -> Cells:
        """Those that all sums are on."""
        return self.folds[0][0].cells

    def cells_of(self, k: int, folds: Sequence[int]) -> CellSums:
        """Class k from some of the folds."""
        return add([self.folds[f][k] for f in folds])

    def of(self, k: int, folds: Sequence[int]) -> Accumulator:
        """Class k from some of the folds, as an array."""
        return self.cells_of(k, folds).accumulator()

    def of_all_classes(self, folds: Sequence[int]) -> CellSums:
        """All classes from some of the folds."""
        return add([self.cells_of(k, folds) for k in range(self.n_classes)])

    def half(self, index: int) -> tuple[int, ...]:
        """Folds of half 0 or 1."""
        middle = len(self.folds) // 2
        return tuple(range(middle)) if index == 0 else tuple(range(middle, len(self.folds)))

    def without(self, fold: int | None) -> tuple[int, ...]:
        """All folds but one, or all; where halves are kept apart, the others of the fold's half."""
        among = self.half(fold >= len(self.folds) // 2) if self.apart and fold is not None else range(len(self.folds))
        return tuple(f for f in among if f != fold)

    @cached_property
    def fsc(self) -> tuple[Floats, Floats]:
        """(K, N/2 + 1) between the two halves of every class's images, and (N/2 + 1,) of all images; 0 in one fold.

        The halves of a class share what decided their labels, so that it is too high where labels are noise.
        """
        if len(self.folds) == 1:
            nothing = np.zeros((self.n_classes, self.cells.box_px // 2 + 1))
            return nothing, nothing[0]
        curves, whole = [], [torch.zeros((), dtype=torch.float64, device=self.cells.near.device)] * 2
        for k in range(self.n_classes):
            pair = [near_sums(self.cells_of(k, self.half(h))) for h in (0, 1)]
            curves.append(fsc_of_near(self.cells, *pair))
            whole = [total + one for total, one in zip(whole, pair, strict=True)]
        return np.stack(curves), fsc_of_near(self.cells, *whole)
