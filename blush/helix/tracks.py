"""Where a segment is expected: psi and the offset across where its neighbours have them, tilt where its track has it.

Tilts are not smoothed. All tilts that differ from the true ones by the same few degrees fit a map that was made with
them nearly as well, since rungs then lie on a cone instead of a line. Told by neighbours, tilts drifted away together:
to a root mean square of 12 degrees within ten iterations of an amyloid whose true ones were 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import in_frame, nearest_zero, polarity

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OF_TRACK = 1.0
"""Segments that the track itself counts as: what it was picked for is not forgotten where there are few."""
BEND_ANGST = 150.0
"""Distance over which a filament may leave its track by as much as a segment errs."""
CUT = 3.0
"""Widths of the kernel beyond which neighbours are not heard."""
NARROWEST = 1 / 3
"""Of the first width of a prior: best poses are drawn to it, so that their scatter alone would narrow it ever on."""
WIDEST = 1.0
"""Of the first width."""


@dataclass(frozen=True)
class Track:
    """Psi and tilt of polarity 0, and offset across, of segments.

    Attributes
    ----------
    psi_deg, tilt_deg, across_angst
        (n,)
    """

    psi_deg: Floats
    tilt_deg: Floats
    across_angst: Floats

    @classmethod
    def of(cls, poses: Floats, track_psi_deg: Floats) -> Self:
        """Track of poses, with those that run against it turned round.

        Parameters
        ----------
        poses
            (n, 5) as `blush.io.particles.POSE` orders them.
        track_psi_deg
            (n,)
        """
        against = polarity(poses[:, 2], track_psi_deg)
        psi = nearest_zero(poses[:, 2] + 180.0 * against, 360.0)
        tilt = np.where(against == 1, 180 - poses[:, 1], poses[:, 1])
        return cls(psi, tilt, in_frame(poses[:, 3:], psi)[:, 1])

    def stacked(self) -> Floats:
        """(n, 3) psi, tilt and across."""
        return np.stack((self.psi_deg, self.tilt_deg, self.across_angst), 1)

    def taken(self, rows: Ints) -> Track:
        """That of some segments."""
        return Track(self.psi_deg[rows], self.tilt_deg[rows], self.across_angst[rows])

    def smoothed(self, first: Track, filament: Ints, track_angst: Floats, length_angst: float) -> Track:
        """Where each segment is expected by the others of its filament.

        A straight line is fitted to how far they are from the first track in psi and across, by least squares with
        Gaussian weights of the distance, whose standard deviation is half of `length_angst`. Tilt is the first track's.

        Parameters
        ----------
        first
            As the filaments were picked.
        filament, track_angst
            (n,) number of the filament, and distance along it.
        """
        turned = nearest_zero(self.psi_deg - first.psi_deg, 360.0)
        gap = np.stack((turned, self.across_angst - first.across_angst), 1)
        moved = _expected(gap, filament, track_angst, length_angst / 2)
        psi = nearest_zero(first.psi_deg + moved[:, 0], 360.0)
        return Track(psi, first.tilt_deg, first.across_angst + moved[:, 1])

    def widths(
        self, expected: Track, first_sigma_deg: tuple[float, float], last_tilt_sigma_deg: float
    ) -> tuple[float, float]:
        """Root mean square of psi and tilt about those expected, within bounds about the first widths.

        That of tilt is never wider than the last one: a map that was made with wrong tilts does not pull them back, so
        that they walk at random as far as their prior lets them, and would widen it ever on.
        """
        gap = nearest_zero(self.psi_deg - expected.psi_deg, 360.0), self.tilt_deg - expected.tilt_deg
        found = [float(np.sqrt(np.mean(np.square(one)))) if len(one) else 0.0 for one in gap]
        psi, tilt = (min(max(f, NARROWEST * s), WIDEST * s) for f, s in zip(found, first_sigma_deg, strict=True))
        return psi, min(tilt, last_tilt_sigma_deg)


def _expected(gap: Floats, filament: Ints, track_angst: Floats, sigma_angst: float) -> Floats:
    """(n, columns) what the others of a filament say of each segment; summed neighbour by neighbour along it."""
    order = np.lexsort((track_angst, filament))
    number, place, values = filament[order], track_angst[order], gap[order]
    weight = np.zeros((3, len(order)))
    sums = np.zeros((2, *values.shape))
    for lag in range(1, len(order)):
        near, far = np.arange(len(order) - lag), np.arange(lag, len(order))
        distance = place[far] - place[near]
        heard = (number[far] == number[near]) & (distance <= CUT * sigma_angst)
        if not heard.any():
            break
        near, far, distance = near[heard], far[heard], distance[heard]
        kernel = np.exp(-((distance / sigma_angst) ** 2) / 2)
        for here, there, x in ((near, far, distance), (far, near, -distance)):
            weight[:, here] += kernel * np.stack((np.ones(len(x)), x, x**2))
            sums[:, here] += (kernel * np.stack((np.ones(len(x)), x)))[..., None] * values[there]
    level, slope = weight[0] + OF_TRACK, weight[2] + BEND_ANGST**2
    found = (sums[0] * slope[:, None] - sums[1] * weight[1][:, None]) / (level * slope - weight[1] ** 2)[:, None]
    expected = np.empty_like(found)
    expected[order] = found
    return expected
