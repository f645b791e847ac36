"""Columns that change what an image shows are used, refused or warned of, by name."""

import numpy as np
import pytest

from blush.io.check import check_particles
from blush.io.star import write_star

MTF = "data_\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0.0 1.0\n0.5 0.2\n"
HALF = [0] * 4 + [1] * 4


def text(*values):
    return np.array(values, dtype=object)


def old(project, **columns):
    """The project as a table of RELION 3.0, whose rows repeat their optics."""
    project.write()
    table = {name: column for name, column in project.particles.items() if name != "rlnOpticsGroup"}
    table |= {
        "rlnVoltage": np.full(8, 300.0),
        "rlnSphericalAberration": np.full(8, 2.7),
        "rlnAmplitudeContrast": np.full(8, 0.1),
        "rlnMagnification": np.full(8, 50000.0),
        "rlnDetectorPixelSize": np.full(8, 15.0),
    }
    write_star(project.star, {"": table | columns})
    return check_particles(project.star)


@pytest.mark.parametrize(
    ("column", "values", "field", "expected"),
    [
        ("rlnBeamTiltX", np.array([0.5] * 4 + [-0.5] * 4), "beam_tilt_x_mrad", [0.5] * 4 + [-0.5] * 4),
        ("rlnBeamTiltY", np.array([0.5, -0.5] * 4), "beam_tilt_y_mrad", [0.5, -0.5] * 4),
        ("rlnOddZernike", text(*["[1,2]"] * 4, *["[3,4]"] * 4), "odd_zernike", [(1.0, 2.0)] * 4 + [(3.0, 4.0)] * 4),
        ("rlnEvenZernike", text(*["[1]"] * 4, *["[0]"] * 4), "even_zernike", [(1.0,)] * 4 + [(0.0,)] * 4),
        ("rlnCtfDataAreCtfPremultiplied", np.array(HALF), "ctf_premultiplied", [False] * 4 + [True] * 4),
        ("rlnAmplitudeContrast", np.array([0.07] * 4 + [0.1] * 4), "amplitude_contrast", [0.07] * 4 + [0.1] * 4),
        ("rlnMicrographOriginalPixelSize", np.array([1.5] * 8), "original_pixel_size_angst", [1.5] * 8),
        ("rlnOpticsGroup", np.array([7] * 4 + [3] * 4), "name", ["opticsGroup2"] * 4 + ["opticsGroup1"] * 4),
    ],
)
def test_optics_that_differ_by_row_in_old_tables_make_optics_groups(project, column, values, field, expected):
    findings = old(project, **{column: values})
    assert not findings.problems
    groups = findings.particles.optics
    assert [getattr(groups[index], field) for index in findings.particles.optics_index] == expected
    assert column == "rlnAmplitudeContrast" or column == "rlnOpticsGroup" or column not in findings.blocks["particles"]


def test_a_detector_named_in_rows_of_old_tables_is_used(project):
    (project.root / "mtf.star").write_text(MTF)
    findings = old(project, rlnMtfFileName=text(*["mtf.star"] * 4, *["None"] * 4))
    assert not findings.problems
    found = [findings.particles.optics[index].mtf_file for index in findings.particles.optics_index]
    assert found == [str(project.root / "mtf.star")] * 4 + [None] * 4
    assert ["rlnMicrographOriginalPixelSize" in warning.message for warning in findings.warnings] == [True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rlnCtfDataArePhaseFlipped": np.array(HALF)}, "rlnCtfDataArePhaseFlipped must be 0"),
        ({"rlnMagMat01": np.array(HALF) * 0.01}, "anisotropic magnification (rlnMagMat00 to rlnMagMat11)"),
        ({"rlnBeamTiltX": np.full(8, 25.0)}, "rlnBeamTiltX is more than 20 mrad"),
        ({"rlnPixelSize": np.full(8, 1.5)}, "rlnPixelSize is not the pixel size by rlnDetectorPixelSize and rln"),
        ({"rlnMagnification": np.array([50000.0, 60000.0] * 4)}, "optics group differs from 'opticsGroup1' in pixel"),
        ({"rlnVoltage": text(*["300"] * 7, "x")}, "rlnVoltage is not a finite number"),
        ({"rlnSphericalAberration": np.full(8, 2700.0)}, "rlnSphericalAberration must be from 0 to 10 mm"),
    ],
)
def test_what_old_tables_hold_and_nothing_can_be_done_with_is_refused(project, columns, message):
    assert any(message in problem.message for problem in old(project, **columns).problems)


def test_several_tables_with_images_are_none(project):
    project.write()
    write_star(project.star, {"images": project.particles, "more": project.particles})
    assert ["has several tables with images" in p.message for p in check_particles(project.star).problems] == [True]


CONTRADICTIONS = {
    "rlnBeamTiltX": np.array([0.0] * 7 + [0.3]),
    "rlnBeamTiltY": np.full(8, -0.3),
    "rlnCtfDataArePhaseFlipped": np.array(HALF),
    "rlnCtfDataAreCtfPremultiplied": np.array(HALF),
    "rlnVoltage": np.full(8, 200.0),
    "rlnSphericalAberration": np.full(8, 0.01),
    "rlnAmplitudeContrast": np.full(8, 0.07),
    "rlnImagePixelSize": np.full(8, 1.5),
    "rlnMagMat00": np.full(8, 1.02),
    "rlnOddZernike": text(*["[0.1,0,0]"] * 8),
    "rlnEvenZernike": text(*["[]"] * 7, "[1]"),
    "rlnMtfFileName": text(*["mtf.star"] * 8),
}


@pytest.mark.parametrize("column", CONTRADICTIONS)
def test_rows_that_contradict_their_optics_group_are_refused(project, run_check, column):
    project.particles[column] = CONTRADICTIONS[column]
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{column} is not that of the row's optics group, and only data_optics is used" in printed
    assert "make an optics group of the rows with each value" in printed


def test_rows_that_repeat_their_optics_group_are_fine(project):
    project.optics |= {"rlnBeamTiltX": np.array([0.25]), "rlnOddZernike": text("[1,0]")}
    project.particles |= {
        "rlnBeamTiltX": np.full(8, 0.25001),
        "rlnBeamTiltY": np.zeros(8),
        "rlnOddZernike": text(*["[1.0]"] * 8),
        "rlnVoltage": np.full(8, 300),
        "rlnImageSize": np.full(8, 16),
        "rlnMtfFileName": text(*["None"] * 8),
    }
    findings = check_particles(project.write())
    assert not findings.problems
    assert not findings.warnings


@pytest.mark.parametrize("name", ["rlnOddZernike", "rlnEvenZernike"])
@pytest.mark.parametrize("value", ["[1,nan]", "[1_0]", "[inf]", "[a]", f"[{','.join(['1'] * 101)}]"])
def test_vectors_hold_finite_numbers(project, name, value):
    project.optics[name] = text(value)
    problems = check_particles(project.write()).problems
    assert [problem.message for problem in problems] == ["is not a vector of numbers"]


def test_a_detector_of_one_row_is_none(project):
    (project.root / "mtf.star").write_text(MTF.replace("0.5 0.2\n", ""))
    project.optics["rlnMtfFileName"] = text("mtf.star")
    assert any("needs two rows or more" in problem.message for problem in check_particles(project.write()).problems)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rlnCtfImage": text(*["ctf.mrc"] * 8)}, "CTFs as images (rlnCtfImage) cannot be used"),
        ({"rlnCtfScalefactor": np.zeros(8)}, "rlnCtfScalefactor must be above 0"),
    ],
)
def test_ctfs_that_cannot_be_used_are_refused(project, columns, message):
    project.particles |= columns
    assert any(message in problem.message for problem in check_particles(project.write()).problems)


WARNED = [
    ({"rlnDefocusU": np.zeros(8), "rlnDefocusV": np.zeros(8)}, "defocus is 0"),
    ({"rlnPhaseShift": np.full(8, 1.57)}, "phase shifts are all of a few degrees, as if in radians"),
    ({"rlnPhaseShift": np.full(8, 900.0)}, "phase shift is beyond a full turn"),
    ({"rlnCtfBfactor": np.full(8, -50.0)}, "rlnCtfBfactor is negative"),
    ({"rlnOriginXAngst": np.full(8, 30.0)}, "origin is further from the centre than half the box"),
    ({"rlnAngleTiltPrior": np.full(8, 90.0)}, "columns are kept, and nothing is refined by them"),
    ({"rlnIsFlip": np.array(HALF)}, "columns are kept, and nothing is refined by them"),
    ({"rlnReconstructImageName": text(*["1@first.mrcs"] * 8)}, "columns are kept, and nothing is refined by them"),
    (
        {"rlnMagnification": np.array([1e4, 1.1e4] * 4), "rlnDetectorPixelSize": np.full(8, 3.0)},
        "rows of one optics group differ in rlnDetectorPixelSize and rlnMagnification",
    ),
]


@pytest.mark.parametrize(("columns", "message"), WARNED, ids=[f"{next(iter(columns))}" for columns, _ in WARNED])
def test_odd_values_and_columns_without_effect_are_told_once(project, columns, message):
    project.particles |= columns
    findings = check_particles(project.write())
    assert not findings.problems
    assert [message in warning.message for warning in findings.warnings] == [True]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"rlnVoltage": np.array([30.0])}, "few microscopes have this voltage"),
        ({"rlnSphericalAberration": np.array([0.0])}, "spherical aberration is 0"),
        ({"rlnAmplitudeContrast": np.array([0.7])}, "amplitude contrast is large"),
        ({"rlnBeamTiltY": np.array([-6.0])}, "beam tilt is large"),
    ],
)
def test_odd_optics_are_told(project, columns, message):
    project.optics |= columns
    findings = check_particles(project.write())
    assert not findings.problems
    assert [message in warning.message for warning in findings.warnings] == [True]


def test_a_pixel_size_in_another_unit_is_told(project):
    project.optics["rlnImagePixelSize"] = np.array([0.1])
    project.pixel_size = 0.1
    assert [w.message for w in check_particles(project.write()).warnings] == ["few data have this pixel size"]
