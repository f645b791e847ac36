"""Each spoiled table is refused with file, row, value and remedy, status 2, and nothing written."""

import numpy as np
import pytest

from blush.io.check import check_particles
from blush.io.star import read_star, write_star


def text(*values):
    return np.array(values, dtype=object)


def test_a_correct_project_has_no_problems_and_no_warnings(project, run_check):
    status, printed = run_check(project.write())
    assert status == 0
    assert printed == f"{project.star}: 8 particles, no problems, 0 warning(s)\n"


def test_missing_star_file(project, run_check):
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{project.star}: file does not exist; correct the path" in printed


def test_file_that_is_not_star(project, run_check):
    project.star.write_text("hello\n")
    status, printed = run_check(project.star)
    assert status == 2
    assert str(project.star) in printed
    assert "give a STAR file written by RELION" in printed


def test_missing_stack_names_its_rows(project, run_check):
    project.write()
    (project.root / "second.mrcs").unlink()
    status, printed = run_check(project.star)
    assert status == 2
    assert (
        f"{project.star}, data_particles row 5-8: stack file does not exist (found second.mrcs); restore the stack"
        in printed
    )


def test_many_missing_stacks_share_a_line_beyond_the_third(project, run_check):
    project.particles["rlnImageName"] = text(*(f"000001@gone{i}.mrcs" for i in range(8)))
    project.write()
    status, printed = run_check(project.star)
    assert status == 2
    assert printed.count("stack file does not exist") == 4
    assert f"{project.star}, data_particles 5 more stacks, 5 rows: 4-8: stack file does not exist; restore" in printed


def test_a_stack_that_lies_elsewhere_is_named(project, run_check):
    project.particles["rlnImageName"] = text(
        *(name.replace("@", "@/data/Extract/") for name in project.particles["rlnImageName"])
    )
    status, printed = run_check(project.write())
    assert status == 2
    assert f"(found /data/Extract/first.mrcs); there is {project.root / 'first.mrcs'}: write the path" in printed


def test_marks_of_a_format_behind_a_colon_are_no_part_of_a_name(project):
    project.particles["rlnImageName"] = text(*(f"{name}:mrcs" for name in project.particles["rlnImageName"]))
    findings = check_particles(project.write())
    assert not findings.problems
    assert findings.particles.stacks == (str(project.root / "first.mrcs"), str(project.root / "second.mrcs"))


def test_many_unreadable_stacks_share_a_line_beyond_the_third(project, run_check):
    names = [f"bad{i}.mrcs" for i in range(8)]
    project.particles["rlnImageName"] = text(*(f"000001@{name}" for name in names))
    project.write()
    for size, name in enumerate(names):
        (project.root / name).write_bytes(b"x" * size)
    status, printed = run_check(project.star)
    assert status == 2
    assert printed.count("shorter than the 1024 bytes") == 4
    assert "5 more of this kind, the last of them" in printed


@pytest.mark.parametrize("name", ["rlnImageName", "rlnOpticsGroup", "rlnDefocusU"])
def test_missing_particle_column(project, run_check, name):
    del project.particles[name]
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_particles, {name}: column is missing; add it" in printed


@pytest.mark.parametrize("name", ["rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast", "rlnImagePixelSize"])
def test_missing_optics_column(project, run_check, name):
    del project.optics[name]
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_optics, {name}: column is missing; add it" in printed


@pytest.mark.parametrize("number", [5, 9])
def test_image_number_beyond_the_stack(project, run_check, number):
    project.particles["rlnImageName"][3] = f"{number:06d}@first.mrcs"
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles row 4: image number is beyond the end of the stack "
        f"(found {number:06d}@first.mrcs, which has 4 images); correct rlnImageName" in printed
    )


@pytest.mark.parametrize("name", ["000000@first.mrcs", "first.mrcs", "x@first.mrcs"])
def test_image_name_without_a_number_from_1(project, run_check, name):
    project.particles["rlnImageName"][0] = name
    status, printed = run_check(project.write())
    assert status == 2
    assert f"data_particles row 1: rlnImageName does not start with an image number from 1 on (found {name})" in printed
    assert "write 000001@stack.mrcs" in printed


def test_duplicate_within_a_half(project, run_check):
    project.particles["rlnImageName"][2] = "000001@first.mrcs"
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles row 3: image is listed twice, in the same half "
        "(found 000001@first.mrcs, first in row 1); remove one of the rows" in printed
    )


def test_duplicate_across_halves_through_another_path(project, run_check):
    project.write()
    (project.root / "alias.mrcs").symlink_to(project.root / "first.mrcs")
    project.particles["rlnImageName"][7] = "000001@alias.mrcs"
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles row 8: image is listed twice, in both halves "
        "(found 000001@alias.mrcs, first in row 1); remove one of the rows" in printed
    )


@pytest.mark.parametrize("half", [1, 2])
def test_empty_half(project, run_check, half):
    project.particles["rlnRandomSubset"][:] = 3 - half
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles, rlnRandomSubset: half {half} is empty (found 0 particles); assign particles"
        in printed
    )


def test_one_particle_cannot_make_two_halves(project, run_check):
    del project.particles["rlnRandomSubset"]
    project.rows(1)
    status, printed = run_check(project.write())
    assert status == 2
    assert "too few particles for two halves (found 1); give at least one particle per half" in printed


def test_halves_must_be_1_or_2_in_every_row(project, run_check):
    project.particles["rlnRandomSubset"][5] = 0
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_particles row 6: rlnRandomSubset is not 1 or 2 (found 0); assign every row" in printed


def test_without_halves_none_is_assigned(project):
    del project.particles["rlnRandomSubset"]
    findings = check_particles(project.write())
    assert not findings.problems
    assert findings.particles.half.tolist() == [0] * 8


def two_groups(project, name, value):
    project.optics = {key: np.repeat(column, 2) for key, column in project.optics.items()}
    project.optics["rlnOpticsGroup"] = np.array([1, 2])
    project.optics["rlnOpticsGroupName"] = text("a", "b")
    project.optics[name][1] = value
    project.particles["rlnOpticsGroup"] = np.array([1] * 4 + [2] * 4)


def test_mixed_pixel_sizes(project, run_check):
    two_groups(project, "rlnImagePixelSize", 3.02)  # within 1 % of the header
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_optics 'b': optics group differs from 'a' in pixel size (found 3.02 Å instead of 3 Å); "
        "extract all particles with box 16 px and pixel size 3 Å" in printed
    )


def test_mixed_boxes(project, run_check):
    two_groups(project, "rlnImageSize", 18)
    project.stacks["second.mrcs"] = np.random.default_rng(0).standard_normal((4, 18, 18)).astype(np.float32)
    status, printed = run_check(project.write())
    assert status == 2
    assert "data_optics 'b': optics group differs from 'a' in box size (found 18 px instead of 16 px)" in printed


def test_optics_groups_need_not_be_contiguous(project):
    two_groups(project, "rlnAmplitudeContrast", 0.07)
    project.optics["rlnOpticsGroup"] = np.array([7, 3])
    project.particles["rlnOpticsGroup"] = np.array([7] * 4 + [3] * 4)
    findings = check_particles(project.write())
    assert not findings.problems
    assert [findings.particles.optics[i].amplitude_contrast for i in findings.particles.optics_index] == (
        [0.1] * 4 + [0.07] * 4
    )


def test_unknown_optics_group(project, run_check):
    project.particles["rlnOpticsGroup"][1] = 5
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_particles row 2: optics group is not in data_optics (found 5.0); add" in printed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("rlnVoltage", 0.0, "rlnVoltage must be above 0 kV and at most 3000 kV (found 0.0); give it in kV"),
        ("rlnImagePixelSize", -1.0, "rlnImagePixelSize must be above 0 Å (found -1.0); give that of the images"),
        ("rlnAmplitudeContrast", 1.0, "rlnAmplitudeContrast must be in [0, 1) (found 1.0); correct it"),
        ("rlnImageDimensionality", 3, "rlnImageDimensionality must be 2 (found 3.0); give images"),
    ],
)
def test_impossible_optics(project, run_check, name, value, message):
    project.optics[name] = np.array([value])
    status, printed = run_check(project.write())
    assert status == 2
    assert f"{project.star}, data_optics row 1: {message}" in printed


def test_missing_mtf_file(project, run_check):
    project.optics["rlnMtfFileName"] = text("mtf_k2.star")
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_optics row 1, rlnMtfFileName: file does not exist (found mtf_k2.star); restore the file"
        in printed
    )


@pytest.mark.parametrize("value", ["abc", "nan", "inf", "None"])
@pytest.mark.parametrize("name", ["rlnDefocusU", "rlnDefocusAngle", "rlnRandomSubset"])
def test_values_that_are_no_number(project, run_check, name, value):
    project.particles[name] = text(*map(str, project.particles[name]))
    project.particles[name][4] = value
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.star}, data_particles row 5: {name} is not a finite number (found {value}); correct the value"
        in printed
    )


def test_every_problem_is_listed_at_once(project, run_check):
    project.particles["rlnDefocusU"][1] = np.nan
    project.particles["rlnRandomSubset"][2] = 3
    project.particles["rlnImageName"][3] = "000009@first.mrcs"
    project.stacks["second.mrcs"][1, 3, 3] = np.inf
    del project.optics["rlnVoltage"]
    status, printed = run_check(project.write())
    assert status == 2
    assert f"blush: {project.star} cannot be used: 5 problem(s)\n" in printed
    assert "data_optics, rlnVoltage: column is missing" in printed
    assert [f"data_particles row {row}:" in printed for row in (2, 3, 4, 6)] == [True] * 4


def test_many_bad_rows_share_a_line_beyond_the_third(project):
    project.particles = {key: np.tile(column, 20) for key, column in project.particles.items()}
    del project.particles["rlnRandomSubset"]
    project.particles["rlnDefocusAngle"] = np.full(160, np.nan)
    problems = [p for p in check_particles(project.write()).problems if "rlnDefocusAngle" in p.message]
    assert len(problems) == 4
    assert problems[-1].where == "data_particles 157 more rows: 4-160"


def test_unknown_columns_and_row_order_are_kept(project):
    project.particles["rlnCryoKitchenSink"] = text(*"hgfedcba")
    project.particles["rlnSomething"] = np.arange(8)[::-1] * 0.5
    findings = check_particles(project.write())
    assert not findings.problems
    assert findings.blocks["particles"]["rlnCryoKitchenSink"].tolist() == list("hgfedcba")
    assert (
        findings.blocks["particles"]["rlnSomething"].tolist()
        == text(*(f"{value:.6f}" for value in np.arange(8)[::-1] * 0.5)).tolist()
    )
    assert list(findings.blocks["particles"]) == list(project.particles)


@pytest.mark.parametrize("version", ["30001", "50001"])
def test_headers_of_all_versions_since_3_1(project, run_check, version):
    star = project.write()
    content = star.read_text().replace("# version 30001", f"\n# version {version}\n")
    star.write_text(content.replace("loop_\n", "loop_ \n"))
    assert run_check(star)[0] == 0


def old_table(project):
    """The same particles as a file from before RELION 3.1."""
    table = dict(project.particles)
    del table["rlnOpticsGroup"]
    return table


def test_table_from_before_3_1_without_optics_says_what_to_add(project, run_check):
    project.write()
    write_star(project.star, {"": old_table(project)})
    status, printed = run_check(project.star)
    assert status == 2
    assert (
        f"{project.star}, data_optics is missing: is a STAR file from before RELION 3.1 and lacks rlnVoltage" in printed
    )
    assert "; add each as a column, with its value in every row" in printed


def test_table_from_before_3_1_with_optics_columns_is_converted(project):
    project.write()
    optics = {
        "rlnVoltage": np.array([300.0] * 4 + [200.0] * 4),
        "rlnSphericalAberration": np.full(8, 2.7),
        "rlnAmplitudeContrast": np.full(8, 0.1),
        "rlnMagnification": np.full(8, 50000.0),
        "rlnDetectorPixelSize": np.full(8, 15.0),
        "rlnOriginX": np.full(8, 2.0),
    }
    write_star(project.star, {"": old_table(project) | optics})
    findings = check_particles(project.star)
    assert not findings.problems
    assert [group.voltage_kv for group in findings.particles.optics] == [200.0, 300.0]
    assert findings.particles.optics_index.tolist() == [1] * 4 + [0] * 4
    assert {group.pixel_size_angst for group in findings.particles.optics} == {3.0}
    assert {group.box_px for group in findings.particles.optics} == {16}
    assert findings.particles.offset_x_angst.tolist() == [6.0] * 8
    assert findings.blocks["particles"]["rlnMagnification"].tolist() == [50000.0] * 8


def test_file_without_particles(project, run_check):
    write_star(project.star, {"general": {"rlnFinalResolution": 3.0}})
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{project.star}: has no table of particles (found data_general); give a particle STAR file" in printed


def test_an_optimiser_names_the_table_of_its_particles(project, run_check):
    write_star(project.star, {"optimiser_general": {"rlnExperimentalDataStarFile": "Refine3D/job003/run_data.star"}})
    status, printed = run_check(project.star)
    assert status == 2
    assert "has no table of particles (found data_optimiser_general); give the table that this one names" in printed


def test_a_damaged_table_of_cryosparc_is_refused(project):
    table = project.root / "particles.cs"
    table.write_bytes(b"\x93NUMPY")
    (problem,) = check_particles(table).problems
    assert str(problem).startswith(f"{table}: is no table of cryoSPARC: ")


def test_stacks_are_relative_to_the_folder_or_any_folder_above(project, run_check):
    star = project.write()
    below = project.root / "Refine3D" / "job001"
    below.mkdir(parents=True)
    write_star(below / "run_data.star", read_star(star))
    assert run_check(below / "run_data.star")[0] == 0


def test_a_filament_in_both_halves_is_refused(project):
    project.particles["rlnHelicalTubeID"] = np.array([1, 1, 1, 1, 2, 2, 2, 2])
    project.particles["rlnMicrographName"] = text(*["m.mrc"] * 8)
    project.particles["rlnRandomSubset"] = np.array([1, 1, 1, 1, 2, 2, 2, 1])
    problems = check_particles(project.write()).problems
    assert ["rlnHelicalTubeID" in problem.message for problem in problems] == [True]
    assert problems[0].where == "data_particles row 5"


@pytest.mark.parametrize(
    ("u", "v", "message"),
    [
        (1.77, 1.7, "defocus is below 2000 Å"),
        (1770.0, 1700.0, "defocus is below 2000 Å"),
        (-17000.0, -17000.0, "defocus is negative"),
        (20000.0, 4000.0, "differ by more than a factor of two"),
        (2e6, 2e6, "defocus is above 100000 Å"),
    ],
)
def test_defocus_in_another_unit_is_told(project, u, v, message):
    project.particles |= {"rlnDefocusU": np.full(8, u), "rlnDefocusV": np.full(8, v)}
    assert any(message in warning.message for warning in check_particles(project.write()).warnings)


def test_phase_flipped_images_are_refused(project):
    project.optics["rlnCtfDataArePhaseFlipped"] = np.array([1])
    assert any("rlnCtfDataArePhaseFlipped" in problem.message for problem in check_particles(project.write()).problems)


def test_stacks_are_found_beside_the_file_that_a_link_leads_to(project, tmp_path_factory):
    link = tmp_path_factory.mktemp("elsewhere") / "particles.star"
    link.symlink_to(project.write())
    assert not check_particles(link).problems
