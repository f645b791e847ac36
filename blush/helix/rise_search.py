"""Rise that two half-maps share where filaments tell the slow twist: the twist of a unit follows its rise."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from blush.geometry.helix import Helix
from blush.helix.pair_score import Central, PairScore
from blush.helix.search import AROUND, FINER, PRECISION, half_score

Range = tuple[float, float]
Floats = NDArray[np.float64]


def search_rise(halves: tuple[Tensor, Tensor], central: Central, helix: Helix, rise_range: Range) -> Helix:
    """The rise within limits that two half-maps share, with a twist that keeps the slow twist per distance.

    Whole filaments tell the slow twist far better than the few units of a map do. A twist that was found in maps alone
    is imposed on references, to which segments then fit, and comes back out of the next maps.

    Parameters
    ----------
    halves
        As `blush.helix.search.search_symmetry` takes them.
    helix
        The starting rise, and the slow twist that is kept.

    Raises
    ------
    ValueError
        If the limits do not hold the starting rise, or the central part is shorter than two rises.
    """
    if not rise_range[0] <= helix.rise_angst <= rise_range[1]:
        raise ValueError(f"rise {helix.rise_angst} Å is not within its limits {rise_range[0]} to {rise_range[1]}")
    score = half_score(halves, central, helix)
    if score.reach_angst < 2 * rise_range[1]:
        raise ValueError(
            f"the central part of {score.reach_angst:.1f} Å is shorter than two rises of {rise_range[1]} Å"
        )
    width = score.steps(helix)[0]
    count = max(5, math.ceil((rise_range[1] - rise_range[0]) / width) + 1)
    rises = np.linspace(*rise_range, count)
    step = float(rises[1] - rises[0])
    best = _best(score, helix, rises)
    while step > PRECISION * width:
        step /= FINER
        best = _best(score, helix, np.unique(np.clip(best + step * np.arange(-AROUND, AROUND + 1), *rise_range)))
    return at_slope(helix, best)


def at_slope(helix: Helix, rise_angst: float) -> Helix:
    """The helix of another rise and the same slow twist per distance."""
    twist = helix.twist_deg + helix.slope_deg_per_angst * (rise_angst - helix.rise_angst)
    return Helix(rise_angst, twist, helix.fold)


def _best(score: PairScore, helix: Helix, rises_angst: Floats) -> float:
    values = [score(np.array([rise]), np.array([at_slope(helix, float(rise)).twist_deg])) for rise in rises_angst]
    return float(rises_angst[int(np.argmax(values))])
