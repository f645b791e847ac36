"""Symmetries that are tried, and which of them lie in which."""

import itertools

import numpy as np
import pytest

from blush.geometry.helix import Helix
from blush.helix.candidates import are_mirrored, candidates_of, contains


def points(helix: Helix, reach_angst: float) -> set[tuple[float, float]]:
    """Turn and height of every unit within reach of the first, from the definition alone."""
    most = int(reach_angst / helix.rise_angst + 1e-6)
    units = itertools.product(range(-most, most + 1), range(helix.fold))
    return {
        (round((h * helix.twist_deg + 360 * k / helix.fold) % 360, 3) % 360, round(h * helix.rise_angst, 3))
        for h, k in units
    }


SYMMETRIES = [
    Helix(4.75, -1.2), Helix(2.375, -180.6), Helix(2.375, 179.4), Helix(4.75, -1.2, 2), Helix(9.5, -2.4),
    Helix(2.375, -0.6), Helix(4.75, 1.2), Helix(4.75, 358.8), Helix(4.75, 178.8, 2),
]  # fmt: skip


@pytest.mark.parametrize(("larger", "smaller"), list(itertools.product(SYMMETRIES, repeat=2)))
def test_a_symmetry_contains_another_where_all_its_units_are_among_its_own(larger, smaller):
    assert contains(larger, smaller) == (points(smaller, 20.0) <= points(larger, 20.0))


def by_kind(helix):
    return {one.kind: one.helix for one in candidates_of(helix)}


def test_a_screw_is_tried_as_a_rotation_and_a_rotation_as_a_screw():
    rotation = by_kind(Helix(2.375, -180.6))["rotation for screw"]
    assert (rotation.rise_angst, rotation.fold) == (4.75, 2)
    assert rotation.twist_deg == pytest.approx(-1.2)
    screw = by_kind(Helix(4.75, -1.2, 2))["screw for rotation"]
    assert (screw.rise_angst, screw.fold) == (2.375, 1)
    assert screw.twist_deg == pytest.approx(-180.6)
    assert screw.slope_deg_per_angst == pytest.approx(-1.2 / 4.75)  # the hand of the slow twist stays


@pytest.mark.parametrize("helix", SYMMETRIES)
def test_the_first_is_the_symmetry_itself_and_the_second_none_and_all_differ(helix):
    found = candidates_of(helix)
    assert (found[0].helix, found[1].helix) == (helix, None)
    others = [one.helix for one in found if one.helix is not None]
    for one, two in itertools.combinations(others, 2):
        assert points(one, 40.0) != points(two, 40.0)


def test_only_the_other_hand_is_mirrored():
    helix = Helix(21.0, 37.0)
    mirrored = [one.kind for one in candidates_of(helix) if one.helix is not None and are_mirrored(one.helix, helix)]
    assert mirrored == ["other hand"]
    assert np.isclose(by_kind(helix)["other hand"].twist_deg, -37)
