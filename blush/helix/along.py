"""Refined poses of segments as places on their filaments: polarity, rot reduced to the axis, and what each says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import Helix, in_frame, nearest_zero, polarity
from blush.io.particles import ParticleSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEAST_SEGMENTS = 4
"""Of a filament, for a slow twist of its own."""


def tilt_from_track_deg(particles: ParticleSet) -> Floats:
    """(n,) how far each segment is tilted from its track, whichever way it looks along it; positive to one end of it.

    Raises
    ------
    ValueError
        Particles are no segments of filaments.
    """
    if particles.track_psi_deg is None or particles.track_tilt_deg is None:
        raise ValueError("particles are no segments of filaments")
    is_against = polarity(particles.psi_deg, particles.track_psi_deg) == 1
    tilt = np.where(is_against, 180.0 - particles.tilt_deg, particles.tilt_deg)
    return np.asarray(tilt - particles.track_tilt_deg, dtype=np.float64)


@dataclass(frozen=True)
class Along:
    """Segments in the order of their table, and the filaments that they are of.

    Attributes
    ----------
    filament
        (n,) number of each segment's filament, from 0.
    track_angst
        (n,) distance along it.
    reversed
        (n,) whether each looks against the track of its filament.
    along_angst, across_angst
        (n,) offset in the frame of the axis that the pose sees.
    phase_deg
        (n,) rot less what the slow twist makes of the distance, about the mean of the filament, in (-period/2,
        period/2]: 0 on a filament that is an ideal helix.
    count
        (filaments,) segments of each.
    is_reversed
        (filaments,) whether most of its segments are.
    """

    filament: Ints
    track_angst: Floats
    reversed: NDArray[np.bool_]
    along_angst: Floats
    across_angst: Floats
    phase_deg: Floats
    count: Ints
    is_reversed: NDArray[np.bool_]

    @classmethod
    def of(cls, particles: ParticleSet, helix: Helix) -> Self:
        """Segments with the poses that they have.

        Raises
        ------
        ValueError
            Particles are no segments of filaments.
        """
        if particles.filament is None or particles.track_angst is None or particles.track_psi_deg is None:
            raise ValueError("particles are no segments of filaments")
        filament = particles.filament.astype(np.int64)
        offsets = np.stack([particles.offset_x_angst, particles.offset_y_angst], 1)
        against = polarity(particles.psi_deg, particles.track_psi_deg)
        placed = in_frame(offsets, particles.psi_deg + 180.0 * against)
        sign = 1.0 - 2.0 * against
        rho = helix.reduced_rot(particles.rot_deg, placed[:, 0], sign)
        count = np.bincount(filament)
        most = np.bincount(filament, against) > count / 2
        phase = rho - sign * helix.slope_deg_per_angst * particles.track_angst
        centre = _circular_means(phase, filament, (against == 1) == most[filament], helix.chain_period_deg)
        return cls(
            filament=filament,
            track_angst=particles.track_angst,
            reversed=against == 1,
            along_angst=placed[:, 0],
            across_angst=placed[:, 1],
            phase_deg=nearest_zero(phase - centre[filament], helix.chain_period_deg),
            count=count,
            is_reversed=most,
        )

    @property
    def against_most(self) -> NDArray[np.bool_]:
        """(n,) segments that look the other way than most of their filament."""
        return self.reversed != self.is_reversed[self.filament]

    @property
    def phase_spread_deg(self) -> float:
        """Standard deviation of the phase about 0 as the median says it, over segments that look as their filament."""
        return float(1.4826 * np.median(np.abs(self.phase_deg[~self.against_most])))

    def own_slopes(self) -> tuple[Floats, Floats]:
        """(filaments,) slow twist of each beyond that of the helix, and its standard error, in degrees per Å.

        By least squares over segments that look as most of their filament; NaN where there are fewer than four.
        """
        used = ~self.against_most
        index = self.filament[used]
        sign = np.where(self.is_reversed, -1.0, 1.0)
        x, y = self.track_angst[used], self.phase_deg[used] * sign[index]
        n = np.bincount(index, minlength=len(self.count)).astype(np.float64)

        def sums(values: Floats) -> Floats:
            return np.asarray(np.bincount(index, values, len(self.count)), dtype=np.float64)

        with np.errstate(invalid="ignore", divide="ignore"):
            mean_x, mean_y = sums(x) / n, sums(y) / n
            dx, dy = x - mean_x[index], y - mean_y[index]
            spread = sums(dx * dx)
            slope = sums(dx * dy) / spread
            left = sums((dy - slope[index] * dx) ** 2)
            error = np.sqrt(left / (n - 2) / spread)
        known = (n >= LEAST_SEGMENTS) & (spread > 0)
        return np.where(known, slope, np.nan), np.where(known, error, np.nan)


def _circular_means(angle_deg: Floats, group: Ints, used: NDArray[np.bool_], period_deg: float) -> Floats:
    """Circular mean of each group over those that are used."""
    radians = 2 * np.pi * angle_deg / period_deg
    size = int(group.max(initial=-1)) + 1
    cosine, sine = (np.bincount(group, np.where(used, one, 0.0), size) for one in (np.cos(radians), np.sin(radians)))
    return np.arctan2(sine, cosine) * period_deg / (2 * np.pi)
