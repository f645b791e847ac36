"""Filaments of a particle table, and a helix against the box of its segments."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blush.config import RunConfig
from blush.io.check_helix import check_helix
from blush.io.crossings import filaments_together
from blush.io.filaments import units_per_segment, with_filaments
from blush.io.particles import read_particles
from blush.io.tracks import directions_by_place, near_filaments

STAR = Path("p.star")
TRACK = np.array([0.0, 42.0, 84.0, 126.0, 0.0, 42.0, 84.0, 126.0])
PSI = np.array([10.0] * 4 + [-70.0] * 4)


@pytest.fixture
def segments(project):
    """Reads two filaments of four segments, of which columns are changed or (None) missing."""

    def read(micrograph_px=None, **changes):
        columns = {
            "rlnHelicalTubeID": np.ones(8, dtype=np.int64),
            "rlnHelicalTrackLengthAngst": TRACK,
            "rlnAnglePsiPrior": PSI,
            "rlnAngleTiltPrior": np.full(8, 88.0),
            "rlnAnglePsiFlipRatio": np.full(8, 0.1),
        } | changes
        project.particles |= {name: column for name, column in columns.items() if column is not None}
        project.optics |= {} if micrograph_px is None else {"rlnMicrographOriginalPixelSize": np.array([micrograph_px])}
        particles, blocks = read_particles(project.write())
        problems, warnings = [], []
        found, table = with_filaments(particles, blocks, STAR, problems, warnings)
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
            "(found tube 1 of m1); count it from one end",
        ),
        (
            {"rlnAnglePsiFlipRatio": np.linspace(0, 1.75, 8)},
            "row 6: rlnAnglePsiFlipRatio is not between 0 and 1 (found 1.25); correct the value",
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


HOSTILE = ("1e300", "-1e300", "nan", "inf", "", "١", "1_0", "0x10", "1e-400x", "9" * 400, "--", "12,5")


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize(
    "name",
    [
        "rlnHelicalTrackLengthAngst",
        "rlnAnglePsiPrior",
        "rlnAngleTiltPrior",
        "rlnAnglePsiFlipRatio",
        "rlnCoordinateX",
        "rlnCoordinateY",
    ],
)
def test_hostile_values_are_told_by_row_and_name(segments, name, value):
    """What is no number, or none that a micrograph can hold, in the last row; no other error, and no warning."""
    columns = {"rlnHelicalTrackLengthAngst": TRACK, "rlnAnglePsiPrior": PSI} | places()
    column = columns.get(name, np.full(8, 0.5)).astype(object)
    column[7] = value
    found, _, problems, _ = segments(**places() | {name: column})
    assert found.filament is None
    assert any(f"row 8: {name} is not " in problem for problem in problems), problems


def test_tube_ids_may_be_any_text(segments):
    names = np.array(["1"] * 3 + ["-1"] + ["1"] * 3 + ["9" * 400], dtype=object)
    found, _, problems, _ = segments(rlnHelicalTubeID=names)
    assert problems == []
    assert found.filament.tolist() == [0, 0, 0, 1, 2, 2, 2, 3]


def test_coordinates_that_are_all_the_same_say_nothing(segments, project):
    nowhere = {"rlnCoordinateX": np.zeros(8), "rlnCoordinateY": np.zeros(8)}
    found, table, problems, warnings = segments(**nowhere)
    assert (problems, warnings) == ([], [])
    assert "has no coordinates of segments" in grouped(found, table, project)[2][0]
    del project.particles["rlnAnglePsiPrior"]
    _, _, problems, _ = segments(rlnAnglePsiPrior=None, **nowhere)
    assert "rlnAnglePsiPrior: column is missing; add it" in problems[0]


def test_a_heap_of_segments_is_refused_before_it_fills_the_memory():
    with pytest.raises(ValueError, match="too many segments lie at nearly one place"):
        near_filaments(np.zeros((20_000, 2)), np.arange(20_000), np.zeros(20_000, dtype=np.int64), 60.0)


def places(psi=PSI, track=TRACK, pixel_angst=1.5, mirrored=False):
    """Coordinates of straight tracks, (cos psi, -sin psi) along each."""
    away = track / pixel_angst
    x, y = 500 + away * np.cos(np.radians(psi)), 700 - away * np.sin(np.radians(psi))
    return {"rlnCoordinateX": x, "rlnCoordinateY": -y if mirrored else y}


def test_directions_are_made_from_coordinates_and_told(segments):
    found, table, problems, warnings = segments(rlnAnglePsiPrior=None, **places())
    assert problems == []
    np.testing.assert_allclose(found.track_psi_deg, PSI, atol=1e-9)
    np.testing.assert_allclose(table["rlnAnglePsiPrior"], PSI, atol=1e-9)
    assert ["rlnAnglePsiPrior: is made from coordinates" in warning for warning in warnings] == [True]


def test_tracks_are_made_from_coordinates_whose_pixel_size_is_stated(segments):
    order = np.array([2, 0, 3, 1, 7, 5, 6, 4])
    moved = {name: column[order] for name, column in places().items()}
    against = np.concatenate([PSI[:4], PSI[4:] + 180])
    found, table, problems, warnings = segments(
        micrograph_px=1.5, rlnHelicalTrackLengthAngst=None, rlnAnglePsiPrior=against, **moved
    )
    assert problems == []
    np.testing.assert_allclose(found.track_angst, TRACK[order], atol=1e-5)  # each from its end of smaller x or y
    np.testing.assert_allclose(table["rlnHelicalTrackLengthAngst"], TRACK[order], atol=1e-5)
    np.testing.assert_allclose(found.track_psi_deg, PSI)  # along them, whatever was noted
    assert "is made from coordinates (found 1.5 Å/px)" in warnings[0]
    assert "directions run against the track and are turned by 180 degrees (found 1 filaments)" in warnings[1]


def test_directions_against_the_track_are_turned_and_told(segments):
    found, _, problems, warnings = segments(rlnAnglePsiPrior=np.concatenate([PSI[:4], PSI[4:] + 180]), **places())
    assert problems == []
    np.testing.assert_allclose(found.track_psi_deg, PSI, atol=1e-9)
    assert "turned by 180 degrees (found 1 filaments); expected after a refinement" in warnings[0]


def test_mirrored_coordinates_say_no_more_than_which_way(segments):
    mirrored = places(mirrored=True)
    found, _, problems, warnings = segments(rlnAnglePsiPrior=np.concatenate([PSI[:4] + 180, PSI[4:]]), **mirrored)
    assert problems == []
    np.testing.assert_allclose(found.track_psi_deg, PSI, atol=1e-9)
    assert "coordinates are mirrored" in warnings[0]


def test_the_direction_of_an_arc_is_that_of_its_tangent():
    """A circle of 1 µm, 400 Å of it, at whole pixels: the tangent turns by 22.9 degrees and is found to half of one."""
    distance = np.arange(0, 400, 20.0)
    angle = distance / 1000
    place = np.rint(1000 * np.stack([np.sin(angle), 1 - np.cos(angle)], 1))
    found = directions_by_place(place, np.zeros(20, dtype=np.int64), distance)
    np.testing.assert_allclose(found, -np.degrees(angle), atol=0.5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"rlnHelicalTrackLengthAngst": None},
            "rlnHelicalTrackLengthAngst: column is missing; add it, the distance of each segment along its filament; "
            "or rlnMicrographPixelSize, to make it from",
        ),
        (
            {"rlnAnglePsiPrior": PSI + np.array([90.0] * 4 + [0.0] * 4)},
            "row 1: rlnAnglePsiPrior of this filament does not run along its coordinates (found tube 1 of m1); correct",
        ),
        (
            {
                "rlnHelicalTrackLengthAngst": None,
                "micrograph_px": 1.5,
                "rlnCoordinateX": np.array([0.0, 40, 80, 10, 0, 40, 80, 120]),
                "rlnCoordinateY": np.array([0.0, 0, 1, 40, 0, 0, 0, 0]),
            },
            "row 1: coordinates of this filament turn back (found tube 1 of m1); add rlnHelicalTrackLengthAngst",
        ),
        (
            {"rlnHelicalTubeID": np.array([1, 1, 1, 2, 1, 1, 1, 1]), "rlnAnglePsiPrior": None},
            "row 4: filament of one place has no direction (found tube 2 of m1); add rlnAnglePsiPrior, or remove",
        ),
    ],
)
def test_what_coordinates_cannot_tell_is_refused_by_name(segments, changes, expected):
    found, _, problems, _ = segments(**(places() | changes))
    assert found.filament is None
    assert any(expected in problem for problem in problems), problems


CROSSED = {
    "rlnMicrographName": np.array(["m1"] * 8, dtype=object),
    "rlnHelicalTubeID": np.repeat([1, 2], 4),
}


def grouped(found, table, project, radius=30.0):
    problems, warnings = [], []
    blocks = {"particles": table, "optics": project.optics}
    group = filaments_together(found, blocks, STAR, radius, problems, warnings)
    return group, [str(problem) for problem in problems], [str(warning) for warning in warnings]


def shifted(by_px):
    """The second filament starts elsewhere; both are of one micrograph, with a third far away."""
    at = places()
    return {"rlnCoordinateX": at["rlnCoordinateX"] + np.repeat([0.0, by_px], 4), "rlnCoordinateY": at["rlnCoordinateY"]}


def test_filaments_that_cross_are_drawn_together(segments, project):
    tubes = np.array([1, 1, 1, 1, 2, 2, 3, 3])
    place = shifted(0.0)
    place["rlnCoordinateX"][6:] += 5000
    project.particles.pop("rlnRandomSubset")
    found, table, problems, _ = segments(**CROSSED | {"rlnHelicalTubeID": tubes} | place)
    assert problems == []
    group, problems, warnings = grouped(found, table, project)
    assert problems == []
    assert group.tolist() == [0] * 6 + [1] * 2
    assert "filaments come within a tube's radius of others, and are kept in one half with them (found 2" in warnings[0]


def test_filaments_that_are_apart_are_drawn_alone(segments, project):
    project.particles.pop("rlnRandomSubset")
    found, table, _, _ = segments(**CROSSED | shifted(400.0))
    assert grouped(found, table, project) == (pytest.approx([0] * 4 + [1] * 4), [], [])
    other = CROSSED | {"rlnMicrographName": np.array(["m1"] * 4 + ["m2"] * 4, dtype=object)}
    found, table, _, _ = segments(**other | shifted(0.0))
    assert grouped(found, table, project)[0].tolist() == [0] * 4 + [1] * 4


def test_filaments_that_cross_are_refused_in_different_halves(segments, project):
    found, table, _, _ = segments(**CROSSED | shifted(0.0), rlnRandomSubset=np.repeat([1, 2], 4))
    _, problems, _ = grouped(found, table, project)
    assert "(found tube 1 of m1 and tube 2 of m1); give both one rlnRandomSubset" in problems[0]


def test_halves_cannot_be_drawn_where_all_filaments_cross(segments, project):
    project.particles.pop("rlnRandomSubset")
    found, table, _, _ = segments(**CROSSED | shifted(0.0))
    _, problems, _ = grouped(found, table, project)
    assert "no two halves can be drawn (found 2 filaments); give filaments of more micrographs" in problems[0]


def test_segments_of_one_image_join_their_filaments(segments, project):
    names = project.particles["rlnImageName"].copy()
    names[7] = names[0]
    found, table, _, _ = segments(rlnImageName=names, rlnHelicalTubeID=np.array([1, 1, 2, 2, 1, 1, 2, 2]))
    group, _, warnings = grouped(found, table, project)
    assert group.tolist() == [0, 0, 1, 1, 2, 2, 0, 0]
    assert "has no coordinates of segments; add rlnCoordinateX, rlnCoordinateY" in warnings[0]


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
