"""Resolution against the number of particles, as predicted from one pair of half-maps, and the B-factor that it gives.

The signal-to-noise ratio of a map grows with the number of its particles, so that of the halves, shell by shell, says
where fewer or more particles of the same kind would end. It takes the poses as they are: fewer particles would be
aligned worse to their worse map, so real subsets end earlier, and the B-factor of a prediction is the lower one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from blush.fourier.fsc import interpolated_resolution_at
from blush.fourier.thresholds import HALF_MAPS

FEWEST_PARTICLES = 50
FEWEST_POINTS = 3
"""Of which a line can be judged."""


@dataclass(frozen=True)
class ByNumber:
    """Predicted resolution of some numbers of particles.

    Attributes
    ----------
    particles, resolution_angst
        (p,) from the fewest on; those that reach the last shell, or resolve nothing, are left out.
    bfactor_angst2
        B in ln n = B / (2 d²) + constant; None where too few points are left.
    """

    particles: tuple[int, ...]
    resolution_angst: tuple[float, ...]
    bfactor_angst2: float | None


def resolution_by_number(curve: Tensor, particles: int, box_px: int, pixel_size_angst: float) -> ByNumber:
    """Predict the resolution of a half, a quarter, ... and of twice and four times as many particles.

    Parameters
    ----------
    curve
        (s,) FSC of half-maps of all `particles`, corrected for the mask.

    References
    ----------
    Rosenthal & Henderson 2003, doi:10.1016/j.jmb.2003.07.013 (B-factor); Stagg et al. 2014,
    doi:10.1016/j.jsb.2013.12.005 (ResLog)
    """
    share = curve.double().clamp(0, 1 - 1e-6)
    ratio = share / (1 - share)
    powers = range(2, -math.floor(math.log2(max(1, particles / FEWEST_PARTICLES))) - 1, -1)
    found = []
    for power in reversed(powers):
        scaled = ratio * 2.0**power
        resolution = interpolated_resolution_at(scaled / (1 + scaled), HALF_MAPS, box_px, pixel_size_angst)
        if 2 * pixel_size_angst * (1 + 1e-6) < resolution < math.inf:
            found.append((round(particles * 2.0**power), resolution))
    numbers, resolutions = tuple(n for n, _ in found), tuple(d for _, d in found)
    if len(found) < FEWEST_POINTS or len(set(resolutions)) < FEWEST_POINTS:
        return ByNumber(numbers, resolutions, None)
    slope = np.polyfit(1 / np.array(resolutions) ** 2, np.log(numbers), 1)[0]
    return ByNumber(numbers, resolutions, 2 * float(slope))
