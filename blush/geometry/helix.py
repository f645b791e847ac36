"""Helices: their operator, the frame of a filament's segment, and which way a segment looks along its track.

Conventions, with A = Rz(psi) Ry(tilt) Rz(rot) of `blush.geometry.rotation`:

- The axis of a helix is z through the centre voxel N/2. A density at angle q (from x towards y) and height z is there
  again at q + h twist, z + h rise, for every whole number h: V(R(h twist) (x, y), z + h rise) = V(x, y, z).
- The track of a filament has the direction (cos psi, -sin psi) in the image, psi being that of the track
  (rlnAnglePsiPrior). Along and across are an offset's components along that direction and along (sin psi, cos psi).
- Polarity 0: psi is within 90 degrees of the track's, and +z of the helix then points against the track. Polarity 1:
  psi is the track's plus 180, and the tilt 180 minus that of polarity 0. Their signs s are +1 and -1.
- A segment at distance d along its track has rot = rot(0) + s slope (d - along), `along` being that component of the
  offset that is applied to its image.

`Helix` knows the first rule and the last (`Helix.canonical`, `Helix.reduced_rot`, `Helix.units`, the cross-over
`Helix.crossover_angst`), `in_frame` the second, `polarity` and `reversed_pose` the third.

Notes
-----
Egelman 2000, doi:10.1016/S0304-3991(00)00062-0 (helical operator, search of rise and twist); He & Scheres 2017,
doi:10.1016/j.jsb.2017.02.003 (segments, their priors).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Array = TypeVar("Array", NDArray[np.float64], "Tensor")

STARTS = (1, 2, 3)
"""Numbers of units that may make one step of a filament's slow twist."""
FLATTER = 5.0
"""How many times flatter the slope over several units must be than over one to be the true slow twist."""


@dataclass(frozen=True)
class Helix:
    """Rise and twist from a unit of a helix to the next, with a rotational symmetry about its axis.

    Parameters
    ----------
    rise_angst
        Å along z, above 0.
    twist_deg
        Degrees from x towards y; positive is right-handed. Multiples of 360 / fold make no difference to the map.
    fold
        n of Cn about z.

    Raises
    ------
    ValueError
        If the rise or the fold is not above 0, or the twist is not finite.
    """

    rise_angst: float
    twist_deg: float
    fold: int = 1

    def __post_init__(self) -> None:
        if not (0 < self.rise_angst < math.inf):
            raise ValueError(f"a helix has a rise above 0 Å, not {self.rise_angst}")
        if not math.isfinite(self.twist_deg):
            raise ValueError(f"a helix has a finite twist, not {self.twist_deg} degrees")
        if self.fold < 1:
            raise ValueError(f"a helix has a fold of 1 or more about its axis, not {self.fold}")

    @property
    def starts(self) -> int:
        """Units m that make one step of the slow twist: 1, or where m are much flatter (2 for a screw 2_1), these."""
        slopes = {m: abs(self._slow_twist_deg(m)) / m for m in STARTS}
        flattest = min(STARTS, key=lambda m: (slopes[m], m))
        return flattest if FLATTER * slopes[flattest] <= slopes[1] else 1

    @property
    def slope_deg_per_angst(self) -> float:
        """True slow twist: the representative of m units' twist nearest 0 (modulo 360 / fold), over their rise."""
        return self._slow_twist_deg(self.starts) / (self.starts * self.rise_angst)

    @property
    def chain_period_deg(self) -> float:
        """Rotation about the axis that is one with nothing, when the place along the filament is free: 360 / (n m)."""
        return 360 / (self.fold * self.starts)

    @property
    def pitch_angst(self) -> float:
        """Å along the axis for a whole turn of the slow twist; infinite where there is none."""
        slope = abs(self.slope_deg_per_angst)
        return 360 / slope if slope > 0 else math.inf

    @property
    def crossover_angst(self) -> float:
        """Half the pitch: the repeat that projections of a filament with two like sides show."""
        return self.pitch_angst / 2

    def _slow_twist_deg(self, units: int) -> float:
        return nearest_zero(units * self.twist_deg, 360 / self.fold)

    def units(self, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Whole numbers h of a symmetric set of copies, and their weights, of sum `count`.

        Returns
        -------
        h in ascending order and weights, of one length: `count` of weight 1 where it is odd, else one more, with the
        two at the ends of weight 1/2.

        Raises
        ------
        ValueError
            If `count` is below 1.
        """
        if count < 1:
            raise ValueError(f"a segment adds one unit or more, not {count}")
        half = count // 2
        h = np.arange(-half, half + 1, dtype=np.float64)
        weight = np.ones(len(h))
        if count % 2 == 0:
            weight[[0, -1]] = 0.5
        return h, weight

    def canonical(self, rot_deg: Array, along_angst: Array, sign: Array) -> tuple[Array, Array]:
        """The same projections with the offset along the filament in (-rise/2, rise/2].

        Parameters
        ----------
        rot_deg, along_angst
            (...) as in the module's conventions.
        sign
            (...) +1 for polarity 0, -1 for polarity 1.

        Returns
        -------
        rot in (-180, 180] and along, of the shape and type of the input.
        """
        h = (0.5 - along_angst / self.rise_angst) // 1
        return nearest_zero(rot_deg - sign * h * self.twist_deg, 360.0), along_angst + h * self.rise_angst

    def reduced_rot(self, rot_deg: Array, along_angst: Array, sign: Array) -> Array:
        """Rot of the segment moved along the screw to an offset of 0: rho = rot + s slope along, in [0, period).

        Modulo the period it is the same for all members of a set of equal projections, and on an ideal filament
        rho(d) = rot(0) + s slope d.

        Parameters
        ----------
        rot_deg, along_angst, sign
            As `canonical` takes them.
        """
        return (rot_deg + sign * self.slope_deg_per_angst * along_angst) % self.chain_period_deg


Angle = TypeVar("Angle", float, NDArray[np.float64], "Tensor")


def nearest_zero(angle_deg: Angle, period_deg: float) -> Angle:
    """The representative of an angle modulo a period that lies in (-period/2, period/2]."""
    return period_deg / 2 - (period_deg / 2 - angle_deg) % period_deg


def in_frame(offsets: Array, psi_deg: Array) -> Array:
    """Components along and across a filament of offsets in the image.

    Parameters
    ----------
    offsets
        (..., 2) x and y, Å or pixels.
    psi_deg
        (...) psi of the track, whatever the polarity.

    Returns
    -------
    (..., 2) along and across, in the unit of the input; `from_frame` is the inverse.
    """
    cosine, sine = _cosine_sine(psi_deg)
    x, y = offsets[..., 0], offsets[..., 1]
    return _stacked(x * cosine - y * sine, x * sine + y * cosine)


def from_frame(along_across: Array, psi_deg: Array) -> Array:
    """Offsets in the image, x and y, of components along and across a filament: the inverse of `in_frame`."""
    cosine, sine = _cosine_sine(psi_deg)
    along, across = along_across[..., 0], along_across[..., 1]
    return _stacked(along * cosine + across * sine, across * cosine - along * sine)


def polarity(psi_deg: Array, track_psi_deg: Array) -> Array:
    """0 where psi is less than 90 degrees from that of the track, else 1: int64, of the shape of the input."""
    opposite = abs(nearest_zero(psi_deg - track_psi_deg, 360.0)) >= 90
    if isinstance(opposite, np.ndarray | np.generic):
        return np.asarray(opposite, dtype=np.int64)
    return opposite.long()


def reversed_pose(euler_deg: Array) -> Array:
    """The pose of a segment that runs the other way: psi + 180, tilt -> 180 - tilt, and rot as it is.

    A turn of the object by 180 degrees, never a mirror image: it does not change the hand.

    Parameters
    ----------
    euler_deg
        (..., 3) rot, tilt, psi.

    Returns
    -------
    (..., 3) with psi in (-180, 180].
    """
    rot, tilt, psi = euler_deg[..., 0], euler_deg[..., 1], euler_deg[..., 2]
    turned = nearest_zero(psi + 180, 360.0)
    return _stacked(rot, 180 - tilt, turned)


def _cosine_sine(angle_deg: Array) -> tuple[Array, Array]:
    if isinstance(angle_deg, np.ndarray):
        radians = np.deg2rad(angle_deg)
        return np.cos(radians), np.sin(radians)
    return angle_deg.deg2rad().cos(), angle_deg.deg2rad().sin()


def _stacked(*parts: Array) -> Array:
    """Arrays side by side along a new last axis. torch is imported for tensors alone: the control of a run has none."""
    if isinstance(parts[0], np.ndarray):
        return np.stack(parts, -1)
    import torch

    return torch.stack(parts, -1)
