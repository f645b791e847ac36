"""Doubts about a resolution: none for a sound refinement, and each for its own reason."""

import re
from dataclasses import replace

import pytest

from blush.validate.doubts import Evidence, doubts

SOUND = Evidence(
    resolution_angst=7.3,
    particle_diameter_angst=150,
    accuracy_rotation_deg=0.95,
    accuracy_offset_angst=0.6,
    change_rotation_deg=0.27,
    fine_step_deg=0.47,
    first_grid=False,
    average_pmax=0.18,
    joined_angst=33.6,
)


def test_a_sound_refinement_is_not_doubted():
    assert doubts(SOUND) == []


def test_what_was_not_measured_is_not_doubted():
    unknown = replace(SOUND, accuracy_rotation_deg=None, accuracy_offset_angst=None, change_rotation_deg=None)
    assert doubts(unknown) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"resolution_angst": float("inf")}, "nothing is resolved"),
        ({"resolution_angst": 33.6}, "shared everything down to 33.6 Å .* 33.6 Å is not an independent measurement"),
        ({"accuracy_rotation_deg": 12.5}, r"accurate to 12\.5° \(16\.4 Å at the rim of the particle\) only, .* 7\.3 Å"),
        ({"accuracy_offset_angst": 9.7}, r"accurate to 9\.7 Å in position only"),
        ({"first_grid": True, "fine_step_deg": 7.5}, r"never became finer than the first grid \(7\.5°\), .* 0\.18"),
        ({"change_rotation_deg": 17.5}, r"had not settled: the last iteration turned them by 17\.5°"),
    ],
)
def test_each_doubt_names_its_figures(change, said):
    (text,) = doubts(replace(SOUND, **change))
    assert re.search(said, text), text


def test_poses_are_doubted_from_two_thirds_of_a_period_on():
    """5.58° move the rim of 150 Å by 7.3 Å, two thirds of 10.95 Å."""
    assert doubts(replace(SOUND, accuracy_rotation_deg=5.5, resolution_angst=10.95)) == []
    assert len(doubts(replace(SOUND, accuracy_rotation_deg=5.65, resolution_angst=10.95))) == 1


def test_certain_poses_on_the_first_grid_are_not_doubted():
    """A run that is stopped early, or whose resolution ends before a finer grid is of use."""
    assert doubts(replace(SOUND, first_grid=True, fine_step_deg=7.5, average_pmax=0.92)) == []


def test_doubts_of_one_cause_are_one_text():
    """Uncertain poses are one cause, however they show."""
    weak = replace(SOUND, accuracy_rotation_deg=12.5, first_grid=True, fine_step_deg=7.5, change_rotation_deg=17.5)
    (text,) = doubts(weak)
    assert text.count("; and ") == 2
    assert len(doubts(replace(weak, resolution_angst=33.6))) == 2
