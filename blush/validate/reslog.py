"""Resolution against the number of particles, measured on maps of random subsets: the line and what it says.

With a signal that falls as exp(-B q²/2), ln n = B/(2d²) + constant, of which B is the B-factor (Rosenthal & Henderson
2003); 1/d against log10 n is ResLog (Stagg et al. 2014), whose slope tells how much each particle adds, and whose
intercept how poor a single one is. Both are the same points, so both are told.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

FEWEST_NUMBERS = 3
"""Numbers of particles of which a line can be judged."""
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Point:
    """What one random subset resolves.

    Attributes
    ----------
    particles
        Number in both halves together.
    resolution_angst
        Where its FSC falls below 0.143, between shells; inf where nothing is resolved.
    is_counted
        Whether it bears on the line: what ends with the pixels, or resolves nothing, does not.
    """

    particles: int
    draw: int
    resolution_angst: float
    is_counted: bool


@dataclass(frozen=True)
class Line:
    """A straight line by least squares.

    Attributes
    ----------
    slope_low, slope_high
        Interval of 95 % from the scatter about the line (Student's t).
    """

    slope: float
    slope_low: float
    slope_high: float
    intercept: float


@dataclass(frozen=True)
class ResLog:
    """The measured points and their lines.

    Attributes
    ----------
    squared
        1/d² in 1/Å² against ln n; None where too few numbers of particles are counted.
    reslog
        1/d in 1/Å against log10 n.
    """

    points: tuple[Point, ...]
    squared: Line | None
    reslog: Line | None

    @property
    def bfactor_angst2(self) -> tuple[float, float, float] | None:
        """B with its interval in Å², whose upper end is infinite where more particles may bring nothing."""
        if self.squared is None or self.squared.slope <= 0:
            return None
        line = self.squared
        return 2 / line.slope, 2 / line.slope_high, 2 / line.slope_low if line.slope_low > 0 else math.inf

    def reached_angst(self, particles: float) -> float | None:
        """Resolution that the line says of a number of particles; None where it says none."""
        if self.squared is None:
            return None
        squared = self.squared.intercept + self.squared.slope * math.log(particles)
        return squared**-0.5 if squared > 0 else None

    def record(self) -> dict[str, Any]:
        """Plain numbers; what is infinite or not to be told is null."""
        found, most = self.bfactor_angst2, max((point.particles for point in self.points), default=0)
        return {
            "points": [
                {
                    "particles": point.particles,
                    "draw": point.draw,
                    "resolution_angst": _finite(point.resolution_angst),
                    "counted": point.is_counted,
                }
                for point in self.points
            ],
            "bfactor_angst2": None if found is None else found[0],
            "bfactor_interval_angst2": None if found is None else [_finite(end) for end in found[1:]],
            "squared_slope": None if self.squared is None else self.squared.slope,
            "squared_intercept": None if self.squared is None else self.squared.intercept,
            "reslog_slope": None if self.reslog is None else self.reslog.slope,
            "reslog_slope_interval": None if self.reslog is None else [self.reslog.slope_low, self.reslog.slope_high],
            "reslog_intercept": None if self.reslog is None else self.reslog.intercept,
            "twice_as_many_angst": self.reached_angst(2 * most) if most else None,
        }


def reslog(points: Sequence[Point]) -> ResLog:
    """Fit both lines to the points that are counted.

    References
    ----------
    Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013; Stagg et al. 2014, doi:10.1016/j.jsb.2013.12.005
    """
    counted = [point for point in points if point.is_counted]
    if len({point.particles for point in counted}) < FEWEST_NUMBERS:
        return ResLog(tuple(points), None, None)
    number = np.array([point.particles for point in counted], dtype=np.float64)
    frequency = 1 / np.array([point.resolution_angst for point in counted])
    return ResLog(tuple(points), line(np.log(number), frequency**2), line(np.log10(number), frequency))


def line(x: NDArray[np.float64], y: NDArray[np.float64]) -> Line:
    """One number against another by least squares, all scatter taken to be in the second; three points at least."""
    centred = x - x.mean()
    spread, free = float(centred @ centred), len(x) - 2
    slope = float(centred @ y) / spread
    intercept = float(y.mean() - slope * x.mean())
    error = math.sqrt(float(((y - intercept - slope * x) ** 2).sum()) / (free * spread))
    reach = float(student.ppf((1 + _CONFIDENCE) / 2, free)) * error
    return Line(slope, slope - reach, slope + reach, intercept)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
