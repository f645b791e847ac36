"""How many classes images support: those are merged whose difference predicts nothing of images that it never saw."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Members = frozenset[int]
LEAST_Z = 3.0
"""Standard errors by which two classes have to predict more than one does."""
LEAST_NATS = math.log(100)
"""And the log likelihood of all images by which they have to: less is not decisive on Jeffreys' scale, however even."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n images, and its standard error."""

    mean: float
    error: float
    n: int

    @property
    def z(self) -> float:
        """Standard errors above 0; 0 where there is no spread."""
        return self.mean / self.error if self.error > 0 else 0.0

    @property
    def is_decisive(self) -> bool:
        """Whether a gain of this mean is one."""
        return self.z >= LEAST_Z and self.mean * self.n >= LEAST_NATS


def mean_of(values: Floats, together: Labels) -> Estimate:
    """Mean over rows; its error counts rows of one group, as copies of an image, as one.

    Parameters
    ----------
    values
        (n,).
    together
        (n,) number of each row's group.
    """
    mean = float(values.mean())
    _, index = np.unique(together, return_inverse=True)
    sums = np.bincount(index.reshape(-1), values - mean)
    n = len(sums)
    error = float(np.sqrt(np.square(sums).sum() * n / max(n - 1, 1)) / len(values))
    return Estimate(mean, error, n)


def supported(
    n_classes: int,
    gain: Callable[[Sequence[Members]], Floats],
    together: Labels,
    prepare: Callable[[Sequence[Members]], None] = lambda classes: None,
) -> tuple[list[Members], list[tuple[Members, Members, Estimate]]]:
    """Merge the two classes whose merging costs least, in standard errors, as long as the cost is not decisive.

    Parameters
    ----------
    gain
        Gives the (n,) log likelihood of held-out images by some classes over that by the mean of all.
    prepare
        Is told what classes `gain` is about to be asked for, so that images are read once for all of them.

    Returns
    -------
    The classes that are left, by their smallest member, and for every two of them what their merging would cost.
    """
    left = [frozenset([k]) for k in range(n_classes)]
    while len(left) > 1:
        now = gain(left)
        prepare([a | b for a, b in combinations(left, 2)])
        costs = [(a, b, mean_of(now - gain(_merged(left, a, b)), together)) for a, b in combinations(left, 2)]
        a, b, least = min(costs, key=lambda cost: (cost[2].is_decisive, cost[2].z))
        if least.is_decisive:
            return left, costs
        left = _merged(left, a, b)
    return left, []


def _merged(classes: Sequence[Members], a: Members, b: Members) -> list[Members]:
    """Classes, two of which became one."""
    return sorted([one for one in classes if one not in (a, b)] + [a | b], key=min)
