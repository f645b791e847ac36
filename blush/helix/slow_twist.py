"""The slow twist of filaments, and how far they walk about it, by the evidence of whole chains.

What images say of the slope is the evidence of all filaments as a function of it; its maximum needs no pose of any
single segment, and its curvature is the error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.helix.chain import SIGNS, Evidence, Motion, log_evidence
from blush.helix.filaments import Filaments, Ints, blocks

Floats = NDArray[np.float64]

FIRST_WALK_DEG2_PER_ANGST = 0.1
"""Variance per distance before any was learned: 10 degrees over 1000 Å."""
WALK_LIMITS = (1e-4, 10.0)
"""Variances per distance, in square degrees per Å, beyond which a filament is stiff, or no chain at all."""
WALK_DOUBT = math.log(10.0)
"""Standard deviation of the logarithm of the walk about the first one."""

SEGMENTS_AT_ONCE = 4096
"""Of a block of filaments; see `memory_bytes`."""
SEGMENTS_SEARCHED = 20_000
"""Of a half, by which the maximum is found before all images refine it."""
MOST_CANDIDATES = 64
LEAST_SEGMENTS = 4
BINS_PER_STEP = 0.5
"""Bins that a step of the search turns the ends of a piece of filament."""
FALLEN = 10.0
"""Log evidence below the greatest at which slopes are no longer looked at."""
STEPS = 12
SETTLED = 0.05
"""Part of the standard error below which a step ends the refinement."""
TOLD = 0.25
"""Part of the range of slopes within which the standard error has to be: else nothing was told."""


@dataclass(frozen=True)
class Half:
    """What the images of one half say, as `Evidence.of` takes it, in import order with the rows that are its own."""

    rot_evidence: NDArray[np.float32]
    rows: Ints
    filament: Ints
    track_angst: Floats
    extent_angst: float
    first_log_odds: Floats
    log_odds: Floats

    def blocks(self) -> Iterator[Evidence]:
        """Evidence of all its filaments, block by block."""
        for some in blocks(self.rows, self.filament, self.track_angst, self.extent_angst, SEGMENTS_AT_ONCE):
            yield self.of(some)

    def of(self, filaments: Filaments) -> Evidence:
        """Evidence of some filaments."""
        return Evidence.of(filaments, self.rot_evidence, self.first_log_odds, self.log_odds)

    def searched(self) -> Half:
        """The same of at most `SEGMENTS_SEARCHED` segments, which are those of the longest filaments."""
        ids, index, counts = np.unique(self.filament[self.rows], return_inverse=True, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        taken = np.zeros(len(ids), dtype=bool)
        taken[order] = np.cumsum(counts[order]) - counts[order] < SEGMENTS_SEARCHED
        return replace(self, rows=self.rows[taken[index]])

    def pieces(self, length_angst: float) -> Half:
        """The same filaments cut into pieces of a length, as if they were filaments of their own."""
        number = np.floor(self.track_angst / length_angst).astype(np.int64)
        return replace(self, filament=self.filament * (int(number.max(initial=0)) + 1) + number)

    def lengths(self) -> tuple[float, float]:
        """Median distance of neighbours, and length of the longest filament, in Å; none: infinite, and 0."""
        order = self.rows[np.lexsort((self.track_angst[self.rows], self.filament[self.rows]))]
        track = self.track_angst[order]
        gap = np.diff(track)[np.diff(self.filament[order]) == 0]
        first = np.unique(self.filament[order], return_index=True)[1]
        last = np.append(first[1:], len(order)) - 1
        spacing = float(np.median(gap[gap > 0])) if (gap > 0).any() else math.inf
        return spacing, float((track[last] - track[first]).max(initial=0.0))


@dataclass(frozen=True)
class SlowTwist:
    """What filaments say of the way they twist.

    Attributes
    ----------
    slope_deg_per_angst, error_deg_per_angst
        Most probable slope and its standard error; infinite where filaments do not tell, and the slope is as it was.
    at_limit
        Whether a slope beyond those that were allowed is more probable.
    """

    slope_deg_per_angst: float
    error_deg_per_angst: float
    at_limit: bool

    @property
    def is_known(self) -> bool:
        """Whether filaments told the slope."""
        return math.isfinite(self.error_deg_per_angst)


def fit_slow_twist(halves: Sequence[Half], motions: Sequence[Motion], slopes: tuple[float, float]) -> SlowTwist:
    """The slope that both halves tell.

    Pieces of filament that are short have a broad maximum, and few slopes are enough to find it; longer ones narrow it.
    All filaments as they are refine it.

    Parameters
    ----------
    motions
        Those of each half, as last known.
    slopes
        Least and greatest slope that is allowed, in degrees per Å.
    """
    searched = [half.searched() for half in halves]
    slope, step = _found(searched, motions, slopes)
    slope, error = _refined(searched, motions, slope, step)
    if error > (slopes[1] - slopes[0]) * TOLD:
        return SlowTwist(motions[0].slope_deg_per_angst, math.inf, False)
    if any(len(some.rows) < len(half.rows) for some, half in zip(searched, halves, strict=True)):
        slope, error = _refined(halves, motions, slope, error)
    inside = min(max(slope, slopes[0]), slopes[1])
    return SlowTwist(inside, error, inside != slope)


def _found(halves: Sequence[Half], motions: Sequence[Motion], slopes: tuple[float, float]) -> tuple[float, float]:
    """The most probable slope and the last step, by pieces of filament that are cut longer as the range narrows."""
    known = [half.lengths() for half in halves]
    spacing, longest = min(one[0] for one in known), max(one[1] for one in known)
    (low, high), whole = slopes, False
    bin_deg = max(one.period_deg / half.rot_evidence.shape[2] for half, one in zip(halves, motions, strict=True))
    while not whole:
        turn_deg = 2 * BINS_PER_STEP * bin_deg
        length = max(turn_deg * MOST_CANDIDATES / max(high - low, 1e-12), LEAST_SEGMENTS * spacing)
        whole = length >= longest
        count = math.ceil((high - low) * min(length, longest) / turn_deg) + 1
        candidates = np.linspace(low, high, max(count, 3))
        cut = halves if whole else [half.pieces(length) for half in halves]
        evidence = np.array([_total(cut, motions, float(slope)) for slope in candidates])
        step, best = candidates[1] - candidates[0], float(candidates[evidence.argmax()])
        near = candidates[evidence >= evidence.max() - FALLEN]
        if (near[-1] - near[0] + 2 * step) > (high - low) / 2:
            near = np.array([best])
        low, high = max(slopes[0], near[0] - step), min(slopes[1], near[-1] + step)
    return best, float(step)


def _total(halves: Sequence[Half], motions: Sequence[Motion], slope: float) -> float:
    return math.fsum(_of_all(halves, motions, slope))


def _of_all(halves: Sequence[Half], motions: Sequence[Motion], slope: float) -> Floats:
    """(filaments,) of all halves."""
    pairs = zip(halves, motions, strict=True)
    return np.concatenate([_of_filaments(half, replace(one, slope_deg_per_angst=slope)) for half, one in pairs])


def _of_filaments(half: Half, motion: Motion) -> Floats:
    """(filaments,) log evidence of each, both polarities together."""
    found = [_together(one, log_evidence(one, motion)) for one in half.blocks()]
    return np.concatenate([*found, np.zeros(0)])


def _together(evidence: Evidence, of_polarity: Floats) -> Floats:
    shares = -np.logaddexp(0.0, -evidence.log_odds[:, None] * SIGNS)
    together: Floats = np.logaddexp.reduce(of_polarity + shares, axis=1)
    return together


def fit_walk(half: Half, motion: Motion) -> float:
    """The most probable variance per distance of a half at a slope, within a factor of 16 of the present one."""
    half = half.searched()

    def value(log_walk: float) -> float:
        moving = replace(motion, walk_deg2_per_angst=math.exp(log_walk))
        doubt = (log_walk - math.log(FIRST_WALK_DEG2_PER_ANGST)) / WALK_DOUBT
        return math.fsum(_of_filaments(half, moving)) - doubt**2 / 2

    present = math.log(motion.walk_deg2_per_angst)
    candidates = present + math.log(2) * np.arange(-4.0, 5.0)
    return float(np.clip(math.exp(_peak(candidates, [value(float(one)) for one in candidates])), *WALK_LIMITS))


def _peak(places: NDArray[np.floating[Any]], values: Sequence[float]) -> float:
    """Maximum of values at equal steps, by the parabola through the greatest and its neighbours."""
    best = int(np.argmax(values))
    if best in (0, len(values) - 1):
        return float(places[best])
    below, top, above = values[best - 1 : best + 2]
    curvature = below - 2 * top + above
    shift = 0.0 if curvature == 0 else (below - above) / (2 * curvature)
    return float(places[best] + shift * (places[1] - places[0]))


def _refined(halves: Sequence[Half], motions: Sequence[Motion], slope: float, step: float) -> tuple[float, float]:
    """The maximum near a slope, by parabolas through ever closer points, and its standard error.

    The error is the greater one of that by the curvature and that by the scatter of filaments, of which each is drawn
    alone: what a model of their noise leaves out is in the second. Infinite where no maximum was come upon.
    """
    error, width = math.inf, step
    for _ in range(STEPS):
        below, here, above = (_of_all(halves, motions, slope + k * width) for k in (-1, 0, 1))
        values = [math.fsum(one) for one in (below, here, above)]
        if values[1] < max(values[0], values[2]):
            slope += width if values[2] > values[0] else -width
            continue
        curvature = -math.fsum(below - 2 * here + above) / width**2
        if curvature <= 0:
            break
        gradient = (above - below) / (2 * width)
        move = math.fsum(gradient) / curvature
        slope += move
        error = max(1 / math.sqrt(curvature), math.sqrt(math.fsum((gradient - gradient.mean()) ** 2)) / curvature)
        if width <= error and abs(move) < SETTLED * error:
            break
        width = min(width / 2, error)
    return slope, error
