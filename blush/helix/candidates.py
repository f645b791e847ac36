"""Symmetries that a filament may have instead of the one that it was refined with, and how they lie to each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

from blush.geometry.helix import Helix, nearest_zero

ALIKE_DEG, ALIKE = 1e-3, 1e-6
"""Degrees of twist, and part of a unit of rise, up to which two screws are one."""
NO_SYMMETRY = "no symmetry"


@dataclass(frozen=True)
class Candidate:
    """A symmetry that is tried, and what it is to the one that was refined with.

    Attributes
    ----------
    helix
        None: no symmetry at all.
    """

    kind: str
    helix: Helix | None

    @property
    def name(self) -> str:
        """Rise, twist and point group."""
        if self.helix is None:
            return NO_SYMMETRY
        return f"{self.helix.rise_angst:.4g} Å, {self.helix.twist_deg:.6g}°, C{self.helix.fold}"


def candidates_of(helix: Helix) -> list[Candidate]:
    """The symmetry itself, none, and those with which it is most easily confused; each once.

    The other hand, half a rise with half a twist either way round, twice the rise, more and less rotation about the
    axis, and for two equal halves a screw 2_1 against a rotation C2.
    """
    rise, twist, fold = helix.rise_angst, helix.twist_deg, helix.fold
    half_turn = twist / 2 + math.copysign(180.0, twist)  # the way that keeps the hand of the slow twist
    listed = [
        Candidate("refined", helix),
        Candidate("none", None),
        Candidate("other hand", Helix(rise, -twist, fold)),
        Candidate("half the rise", Helix(rise / 2, twist / 2, fold)),
        Candidate("half the rise, half a turn", Helix(rise / 2, half_turn, fold)),
        Candidate("twice the rise", Helix(2 * rise, nearest_zero(2 * twist, 360.0), fold)),
        Candidate("twice the fold", Helix(rise, twist, 2 * fold)),
    ]
    if fold > 1:
        listed.append(Candidate("no rotation", Helix(rise, twist, 1)))
    if fold % 2 == 0:
        listed.append(Candidate("screw for rotation", Helix(rise / 2, half_turn, fold // 2)))
    if helix.starts == 2:
        listed.append(Candidate("rotation for screw", Helix(2 * rise, nearest_zero(2 * twist, 360.0), 2 * fold)))
    kept: list[Candidate] = []
    for one in listed:
        if not any(_same(one.helix, other.helix) for other in kept):
            kept.append(one)
    return kept


def _same(one: Helix | None, other: Helix | None) -> bool:
    if one is None or other is None:
        return one is other
    return contains(one, other) and contains(other, one)


def contains(larger: Helix, smaller: Helix) -> bool:
    """Whether every operation of `smaller` is one of `larger`, so that a map with the latter has the former."""
    steps = round(smaller.rise_angst / larger.rise_angst)
    is_multiple = steps >= 1 and abs(smaller.rise_angst / larger.rise_angst - steps) < ALIKE
    gap_deg = nearest_zero(smaller.twist_deg - steps * larger.twist_deg, 360 / larger.fold)
    return is_multiple and larger.fold % smaller.fold == 0 and abs(gap_deg) < ALIKE_DEG


def are_mirrored(one: Helix, other: Helix) -> bool:
    """Whether two symmetries are those of mirror images."""
    return _same(one, Helix(other.rise_angst, -other.twist_deg, other.fold))
