"""Filaments of a particle table, and a helix against the box of its segments."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blush.config import RunConfig
from blush.io.check_helix import check_helix
from blush.io.filaments import units_per_segment, with_filaments
from blush.io.particles import read_particles

STAR = Path("p.star")
TRACK = np.array([0.0, 42.0, 84.0, 126.0, 0.0, 42.0, 84.0, 126.0])
PSI = np.array([10.0] * 4 + [-70.0] * 4)


@pytest.fixture
def segments(project):
    """Reads two filaments of four segments, of which columns are changed or (None) missing."""

    def read(**changes):
        columns = {
            "rlnHelicalTubeID": np.ones(8, dtype=np.int64),
            "rlnHelicalTrackLengthAngst": TRACK,
            "rlnAnglePsiPrior": PSI,
            "rlnAngleTiltPrior": np.full(8, 88.0),
            "rlnAnglePsiFlipRatio": np.full(8, 0.1),
        } | changes
        project.particles |= {name: column for name, column in columns.items() if column is not None}
        particles, blocks = read_particles(project.write())
        problems, warnings = [], []
        found, table = with_filaments(particles, blocks["particles"], STAR, problems, warnings)
        return found, table, [str(problem) for problem in problems], [str(warning) for warning in warnings]

    return read


def test_a_tube_of_one_micrograph_is_a_filament(segments):
    found, _, problems, warnings = segments()
    assert (problems, warnings) == ([], [])
    assert found.filament.tolist() == [0] * 4 + [1] * 4
    assert found.filament.dtype == np.int32
    assert found.track_angst.tolist() == TRACK.tolist()
    assert found.track_psi_deg.tolist() == PSI.tolist()
    assert (found.track_tilt_deg == 88).all()
    assert (found.psi_flip_ratio == 0.1).all()


def test_columns_with_a_usual_value_are_added_to_the_table(segments):
    found, table, problems, _ = segments(rlnAngleTiltPrior=None, rlnAnglePsiFlipRatio=None)
    assert problems == []
    assert (found.track_tilt_deg == 90).all()
    assert (table["rlnAngleTiltPrior"] == 90).all()
    assert (table["rlnAnglePsiFlipRatio"] == 0.5).all()


def test_older_track_lengths_are_in_pixels(segments):
    found, table, problems, _ = segments(rlnHelicalTrackLengthAngst=None, rlnHelicalTrackLength=TRACK / 3.0)
    assert problems == []
    np.testing.assert_allclose(found.track_angst, TRACK, rtol=1e-14)
    np.testing.assert_allclose(table["rlnHelicalTrackLengthAngst"], TRACK, rtol=1e-14)


def test_lengths_that_relion_negated_are_counted_from_the_start_again(segments):
    found, _, problems, _ = segments(rlnHelicalTrackLengthAngst=np.concatenate([-TRACK[:4], TRACK[4:]]))
    assert problems == []
    assert found.track_angst.tolist() == TRACK.tolist()


def test_ties_are_broken_in_the_order_of_rows_and_told(segments):
    tied = np.array([0.0, 42.0, 42.0, 42.0, 42.0, 0.0, 84.0, 126.0])
    found, _, problems, warnings = segments(rlnHelicalTrackLengthAngst=tied)
    assert problems == []
    np.testing.assert_allclose(found.track_angst, [0, 42, 42.001, 42.002, *tied[4:]], atol=1e-9)
    assert "segments lie at one place of their filament (found 2 rows)" in warnings[0]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rlnHelicalTubeID": None}, "p.star, data_particles, rlnHelicalTubeID: has no filaments"),
        ({"rlnHelicalTrackLengthAngst": None}, "rlnHelicalTrackLengthAngst: column is missing; add"),
        ({"rlnAnglePsiPrior": None}, "rlnAnglePsiPrior: column is missing; add"),
        (
            {"rlnHelicalTrackLengthAngst": TRACK - 50},
            "row 1: rlnHelicalTrackLengthAngst of this filament is negative in some rows and positive in others "
            "(found tube 1 of 000001@first.mrcs); count it from one end",
        ),
        (
            {"rlnAnglePsiFlipRatio": np.linspace(0, 1.75, 8)},
            "row 6: rlnAnglePsiFlipRatio is not between 0 and 1 (found 1.25); give the probability",
        ),
        (
            {"rlnAnglePsiPrior": np.array(["10"] * 7 + ["nan"], dtype=object)},
            "row 8: rlnAnglePsiPrior is not a finite number (found nan)",
        ),
        (
            {"rlnHelicalTrackLengthAngst": np.array(["1e999"] + ["1"] * 7, dtype=object)},
            "row 1: rlnHelicalTrackLengthAngst is not a finite number (found 1e999)",
        ),
        (
            {"rlnAngleTiltPrior": np.array(["", *["90"] * 7], dtype=object)},
            "row 1: rlnAngleTiltPrior is not a finite number",
        ),
    ],
)
def test_what_is_wrong_is_told_by_row_and_nothing_is_taken(segments, changes, expected):
    found, _, problems, _ = segments(**changes)
    assert found.filament is None
    assert any(expected in problem for problem in problems), problems


def test_units_of_a_segment_are_its_distance_from_the_one_before(segments):
    found, _, _, _ = segments()
    assert units_per_segment(found, 21.0) == 2
    assert units_per_segment(found, 4.75) == 9
    assert units_per_segment(found, 500.0) == 1
    far = replace(found, track_angst=10 * found.track_angst)
    assert units_per_segment(far, 21.0) == 3  # as many as a box of 48 Å holds
    copies = replace(found, track_angst=np.repeat([0.0, 42.0, 0.0, 42.0], 2) + np.tile([0, 0.001], 4))
    assert units_per_segment(copies, 21.0) == 2


def config(**changes):
    helix = {"rise_angst": 4, "twist_deg": 37, "tube_diameter_angst": 24, "central_fraction": 0.4}
    settings = {"name": "run", "job": "helix", "particles": "p.star", "reference": "r.mrc"}
    settings["particle_diameter_angst"] = changes.pop("particle_diameter_angst", 36)
    return RunConfig.model_validate(settings | {"helix": helix | changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"particle_diameter_angst": 44},
            "circle around a segment does not lie inside its box of 16 px (found 44 Å); give at most 42",
        ),
        ({"tube_diameter_angst": 12}, "tube is no wider than 4 pixels of 3 Å (found 12 Å); give more than 12, in Å"),
        ({"tube_inner_diameter_angst": 13}, "(found 13 Å in 24 Å); give at most 12"),
        ({"central_fraction": 0.1}, "central part holds less than two units (found 0.1); give 0.167 to 0.559"),
        ({"central_fraction": 0.6}, "central part reaches beyond the sphere (found 0.6); give 0.167 to 0.559"),
        (
            {"rise_angst": 14},
            "two units of 14 Å do not fit into the 26.8328 Å of the tube that lie in the sphere (found 36 Å); give a "
            "particle_diameter_angst of at least 36.879",
        ),
        ({"rise_range_angst": (4, 14)}, "two units of 14 Å do not fit"),
        (
            {"units_per_segment": 8},
            "so many units of 4 Å do not lie in a box of 48 Å (found 8); give at most 7; 7 by the distance",
        ),
    ],
)
def test_a_helix_that_does_not_fit_its_box_is_told_what_would(segments, changes, expected):
    found, _, _, _ = segments()
    told = [str(problem) for problem in check_helix(config(**changes), found)]
    assert len(told) == 1
    assert expected in told[0]


def test_a_helix_on_its_limits_fits(segments):
    found, _, _, _ = segments()
    for changes in ({}, {"units_per_segment": 7}, {"particle_diameter_angst": 42}, {"rise_angst": 4.8}):
        assert check_helix(config(**changes), found) == []
