"""Rise that two half-maps share where filaments tell the slow twist: the twist of a unit follows its rise."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from blush.geometry.helix import Helix
from blush.helix.pair_score import Central, PairScore
from blush.helix.search import AROUND, FINER, PRECISION, half_score

Range = tuple[float, float]
Floats = NDArray[np.float64]


def search_rise(
    halves: tuple[Tensor, Tensor], central: Central, helix: Helix, rise_range: Range, twist_range: Range | None
) -> Helix | None:
    """The rise within limits that two half-maps share, with a twist that keeps the slow twist per distance.

    Whole filaments tell the slow twist far better than the few units of a map do. A twist that was found in maps alone
    is imposed on references, to which segments then fit, and comes back out of the next maps.

    All rises are compared over as many units as the longest has in the central part: the score steps where their
    number does.

    Parameters
    ----------
    halves
        As `blush.helix.search.search_symmetry` takes them.
    helix
        The starting rise, and the slow twist that is kept.
    twist_range
        Limits of the twist, which exclude rises too; None: none.

    Returns
    -------
    None where the limits of the twist leave no rise to search.

    Raises
    ------
    ValueError
        If the central part is shorter than two rises.
    """
    score = half_score(halves, central, helix)
    if score.reach_angst < 2 * rise_range[1]:
        raise ValueError(f"a central part of {score.reach_angst:.1f} Å is shorter than two rises of {rise_range[1]} Å")
    score = replace(score, units=math.floor(score.reach_angst / rise_range[1]))
    width = score.steps(helix)[0]
    limits = _allowed(helix, rise_range, twist_range)
    if limits is None:
        return None
    rises = np.asarray(np.linspace(*limits, _count(limits, width)), dtype=np.float64)
    values = _values(score, helix, rises)
    best, step = float(rises[int(values.argmax())]), float(rises[1] - rises[0])
    while step > PRECISION * width:
        step /= FINER
        near: Floats = best + step * np.arange(-AROUND, AROUND + 1, dtype=np.float64)
        near = np.asarray(np.unique(np.clip(near, rises[0], rises[-1])), dtype=np.float64)
        best = float(near[int(_values(score, helix, near).argmax())])
    return at_slope(helix, best)


def at_slope(helix: Helix, rise_angst: float) -> Helix:
    """The helix of another rise and the same slow twist per distance."""
    twist = helix.twist_deg + helix.slope_deg_per_angst * (rise_angst - helix.rise_angst)
    return Helix(rise_angst, twist, helix.fold)


def _count(limits: Range, step: float) -> int:
    return max(5, math.ceil((limits[1] - limits[0]) / step) + 1)


def _allowed(helix: Helix, rise_range: Range, twist_range: Range | None) -> Range | None:
    """Limits of the rise within which the twist keeps within its own; None where there is no such rise."""
    slope = helix.slope_deg_per_angst
    if twist_range is None or slope == 0:
        return rise_range
    ends = sorted(helix.rise_angst + (twist - helix.twist_deg) / slope for twist in twist_range)
    low, high = max(rise_range[0], ends[0]), min(rise_range[1], ends[1])
    return (low, high) if low < high else None


def _values(score: PairScore, helix: Helix, rises_angst: Floats) -> Floats:
    each = [score(np.array([rise]), np.array([at_slope(helix, float(rise)).twist_deg])) for rise in rises_angst]
    return np.array([float(one[0, 0]) for one in each])
