"""Rise and twist that two half-maps share: correlation of one with the other moved along the screw.

Halves share no noise, so noise adds to no candidate more than to another; and a candidate between voxels is as sharp as
one on them (`blush.helix.pair_score`). The variance of trilinear copies of one map, as it is widely used, prefers what
lies between voxels, by 0.2 % of the rise and 1 % of the twist of an amyloid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.filter import low_pass, multiply_shells
from blush.fourier.fsc import fsc
from blush.geometry.helix import Helix
from blush.helix.masks import central_mask
from blush.helix.pair_score import Central, PairScore, pair_score

Range = tuple[float, float]
Floats = NDArray[np.float64]
NAMES = ("rise_angst", "twist_deg")

FINER = 4
"""How many times finer each grid about the best candidate is than the one before."""
AROUND = 4
"""Steps to either side of the best candidate that a finer grid spans."""
PRECISION = 1e-6
"""Last step, relative to what changes the score at all."""
FINEST_PX = 2.5
"""Finest detail that the grids' steps follow."""


@dataclass(frozen=True)
class SymmetryFound:
    """Rise and twist of the highest score.

    Attributes
    ----------
    helix
        The best candidate.
    score
        Its correlation.
    rises_angst, twists_deg
        Axes of the first, widest grid.
    scores
        (rises, twists) of that grid.
    at_limit
        Names of the limits that the best candidate lies at: `rise_angst`, `twist_deg`. It is then no optimum.
    """

    helix: Helix
    score: float
    rises_angst: Floats
    twists_deg: Floats
    scores: Floats
    at_limit: tuple[str, ...]


def search_symmetry(
    halves: tuple[Tensor, Tensor], central: Central, helix: Helix, rise_range: Range | None, twist_range: Range | None
) -> SymmetryFound:
    """The rise and twist within limits that two half-maps share.

    Parameters
    ----------
    halves
        (N, N, N) each: unfiltered, and neither symmetrised nor denoised, as what was imposed on a map is found in it.
        Shells are weighed by their FSC in the central part.
    helix
        The starting values; its fold is kept.
    rise_range, twist_range
        Limits in Å and in degrees; None keeps the starting value.

    Raises
    ------
    ValueError
        If the limits do not hold the starting values, or the central part is shorter than two rises.

    References
    ----------
    Egelman 2000, doi:10.1016/S0304-3991(00)00062-0, whose criterion is the variance of trilinear copies of one map;
    He & Scheres 2017, doi:10.1016/j.jsb.2017.02.003.
    """
    return _climb(half_score(halves, central, helix), helix, (rise_range, twist_range))


def half_score(halves: tuple[Tensor, Tensor], central: Central, helix: Helix) -> PairScore:
    """The score of two half-maps, whose shells are weighed by their FSC in the central part."""
    mask = central_mask(len(halves[0]), central.pixel_size_angst, central.tube, central.fraction).to(halves[0])
    first, second = (half * mask for half in halves)
    weight = fsc(first, second).clamp(0, 1).sqrt()
    one, two = (multiply_shells(half, weight) for half in halves)
    return pair_score((one, two), central, helix.fold, FINEST_PX * central.pixel_size_angst)


def search_one_map(
    volume: Tensor,
    central: Central,
    helix: Helix,
    rise_range: Range | None,
    twist_range: Range | None,
    resolution_angst: float,
) -> SymmetryFound:
    """The rise and twist that a single map has, low-passed at `resolution_angst`.

    Neighbours share noise within about the resolution, so nearer pairs do not count, and what a program imposed on the
    map or a network drew into it is found as if it were true: two half-maps say more.

    Parameters
    ----------
    volume
        (N, N, N).
    resolution_angst
        Resolution of the map.

    Raises
    ------
    ValueError
        As `search_symmetry`.
    """
    filtered = low_pass(volume, resolution_angst, central.pixel_size_angst)
    score = pair_score((filtered, filtered), central, helix.fold, resolution_angst)
    return _climb(replace(score, apart_angst=resolution_angst), helix, (rise_range, twist_range))


def _climb(score: PairScore, helix: Helix, ranges: tuple[Range | None, Range | None]) -> SymmetryFound:
    """Ever finer grids about the best candidate of a grid over all limits."""
    _check(helix, ranges, score.reach_angst)
    widths = score.steps(helix)
    start = (helix.rise_angst, helix.twist_deg)
    axes = [_axis(value, limits, step) for value, limits, step in zip(start, ranges, widths, strict=True)]
    scores = first = score(axes[0], axes[1])
    best = _best(axes, scores)
    finest = [PRECISION * step for step in widths]
    steps = [float(axis[1] - axis[0]) if len(axis) > 1 else 0.0 for axis in axes]
    while any(step > least for step, least in zip(steps, finest, strict=True)):
        steps = [step / FINER for step in steps]
        near = [_near(value, step, limits) for value, step, limits in zip(best, steps, ranges, strict=True)]
        scores = score(near[0], near[1])
        best = _best(near, scores)
    found = Helix(best[0], best[1], helix.fold)
    return SymmetryFound(found, float(scores.max()), axes[0], axes[1], first, _at_limit(best, ranges, finest))


def _check(helix: Helix, ranges: tuple[Range | None, Range | None], reach_angst: float) -> None:
    values = (helix.rise_angst, helix.twist_deg)
    for name, value, limits in zip(NAMES, values, ranges, strict=True):
        if limits is not None and not limits[0] <= value <= limits[1]:
            raise ValueError(f"{name} {value} is not within its limits {limits[0]} to {limits[1]}")
    longest = helix.rise_angst if ranges[0] is None else ranges[0][1]
    if reach_angst < 2 * longest:
        raise ValueError(f"the central part of {reach_angst:.1f} Å is shorter than two rises of {longest} Å")


def _axis(value: float, limits: Range | None, step: float) -> Floats:
    """Candidates from limit to limit, `step` or less apart."""
    if limits is None or limits[0] == limits[1]:
        return np.array([value])
    return np.linspace(limits[0], limits[1], max(5, math.ceil((limits[1] - limits[0]) / step) + 1))


def _near(value: float, step: float, limits: Range | None) -> Floats:
    if limits is None or step == 0:
        return np.array([value])
    return np.unique(np.clip(value + step * np.arange(-AROUND, AROUND + 1), *limits))


def _best(axes: list[Floats], scores: Floats) -> tuple[float, float]:
    row, column = np.unravel_index(int(scores.argmax()), scores.shape)
    return float(axes[0][row]), float(axes[1][column])


def _at_limit(best: Range, ranges: tuple[Range | None, Range | None], near: list[float]) -> tuple[str, ...]:
    """Names of the limits that were reached."""
    each = zip(NAMES, best, ranges, near, strict=True)
    return tuple(
        name
        for name, value, limits, close in each
        if limits is not None and limits[0] < limits[1] and min(abs(value - limit) for limit in limits) <= close
    )
