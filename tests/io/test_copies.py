"""Images that are listed several times: copies by symmetry lie in one half, all others are refused."""

import numpy as np
import pytest

from blush.io.check import check_particles
from blush.io.copies import drawn_together, expansion
from blush.io.mrc import write_volume
from blush.jobs.planning import assign_halves


def expand(project, halves=True, angles=(0.0, 120.0, 240.0)):
    """Every row three times, with other angles; returns the number of each row's image."""
    n = len(angles)
    project.particles = {name: np.repeat(column, n) for name, column in project.particles.items()}
    project.particles |= {
        "rlnAngleRot": np.tile(np.array(angles), 8),
        "rlnAngleTilt": np.repeat(np.arange(8.0) * 10, n),
        "rlnAnglePsi": np.zeros(8 * n),
    }
    if not halves:
        del project.particles["rlnRandomSubset"]
    return np.repeat(np.arange(8), n)


def test_copies_by_symmetry_are_taken_and_told(project):
    expand(project)
    findings = check_particles(project.write())
    assert not findings.problems
    assert [(w.message[:44], w.value) for w in findings.warnings] == [
        ("images are listed several times with other p", "24 rows of 8 images")
    ]


@pytest.mark.parametrize("order", [np.arange(24), np.random.default_rng(0).permutation(24)])
@pytest.mark.parametrize("seed", range(5))
def test_halves_are_drawn_by_image(project, order, seed):
    image = expand(project, halves=False)[order]
    project.particles = {name: column[order] for name, column in project.particles.items()}
    findings = check_particles(project.write())
    assert not findings.problems
    together = drawn_together(findings.particles, findings.blocks["particles"])
    half = assign_halves(findings.particles, seed, together)
    assert [len(set(half[image == number])) for number in range(8)] == [1] * 8
    assert (half == 1).sum() == 12


def test_images_that_are_listed_once_are_drawn_one_by_one(project):
    del project.particles["rlnRandomSubset"]
    findings = check_particles(project.write())
    assert drawn_together(findings.particles, findings.blocks["particles"]) is None
    assert expansion(findings.particles) is None


def test_copies_in_both_halves_are_refused(project, run_check):
    expand(project)
    project.particles["rlnRandomSubset"][4] = 1  # a copy of the second image, in half 2 as a whole
    status, printed = run_check(project.write())
    assert status == 2
    assert "image is in both halves, with several poses (found 000002@first.mrcs" in printed
    assert "give all rows of an image one rlnRandomSubset, or remove the column" in printed


def test_rows_with_one_pose_are_no_copies_by_symmetry(project, run_check):
    expand(project, angles=(0.0, 120.0, 120.0))
    status, printed = run_check(project.write())
    assert status == 2
    assert "data_particles row 3: image is listed twice, in the same half" in printed


def test_copies_of_one_image_cannot_make_two_halves(project, run_check):
    project.rows(1)
    project.particles = {name: np.repeat(column, 2) for name, column in project.particles.items()}
    project.particles |= {"rlnAngleRot": np.array([0.0, 90.0]), "rlnRandomSubset": np.array([1, 1])}
    status, printed = run_check(project.write())
    assert status == 2
    assert "too few particles for two halves (found 1)" in printed


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"symmetry": "C1", "refinement": "{start_from: poses}"}, 0),
        ({"symmetry": "C3", "refinement": "{start_from: poses}"}, 2),
        ({"symmetry": "C1"}, 2),
    ],
)
def test_a_search_that_undoes_the_expansion_is_refused(project, run_check, settings, status):
    expand(project)
    project.write()
    write_volume(project.root / "reference.mrc", np.random.default_rng(0).random((16, 16, 16)), 3.0)
    settings = {"name": "run", "particles": "particles.star", "reference": "reference.mrc"} | settings
    settings["particle_diameter_angst"] = 30
    config = project.root / "run.yaml"
    config.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
    found, printed = run_check(config)
    assert found == status
    assert ("set symmetry: C1 and refinement.start_from: poses" in printed) == (status == 2)


def test_a_stack_that_was_copied_counts_once(project, run_check):
    project.stacks["second.mrcs"][:2] = project.stacks["first.mrcs"][2:]
    status, printed = run_check(project.write())
    assert status == 2
    assert "data_particles row 5: image has the pixels of another (found 000001@second.mrcs, as 000003@first" in printed
    assert "data_particles row 7" not in printed


def subtracted(project, halves):
    """Two parts of each image of a stack, as signal subtraction of expanded particles leaves them."""
    project.particles["rlnImageOriginalName"] = np.array([f"{i // 2 + 1:06d}@old.mrcs" for i in range(8)], dtype=object)
    if halves is None:
        del project.particles["rlnRandomSubset"]
    else:
        project.particles["rlnRandomSubset"] = np.array(halves)
    return project.write()


def test_parts_of_one_image_are_drawn_into_one_half(project):
    findings = check_particles(subtracted(project, None))
    assert not findings.problems
    together = drawn_together(findings.particles, findings.blocks["particles"])
    half = assign_halves(findings.particles, 1, together)
    assert [len(set(half[row : row + 2])) for row in (0, 2, 4, 6)] == [1] * 4
    assert (half == 1).sum() == 4


def test_parts_of_one_image_in_both_halves_are_refused(project, run_check):
    status, printed = run_check(subtracted(project, [1, 1, 2, 2, 1, 2, 2, 2]))
    assert status == 2
    assert "data_particles row 6: parts of one image (rlnImageOriginalName) are in both halves" in printed
    assert "(found 000003@old.mrcs, first in row 5); give all rows of an image one rlnRandomSubset" in printed
    assert "cannot be used: 1 problem(s)" in printed


def test_originals_that_are_not_named_join_nothing(project):
    project.particles["rlnImageOriginalName"] = np.array(["None"] * 8, dtype=object)
    findings = check_particles(project.write())
    assert not findings.problems
    assert drawn_together(findings.particles, findings.blocks["particles"]) is None


def test_rows_given_twice_are_not_told_to_be_an_expansion(project, run_check):
    project.particles = {name: np.concatenate([column, column[:2]]) for name, column in project.particles.items()}
    status, printed = run_check(project.write())
    assert status == 2
    assert "image is listed twice, in the same half" in printed
    assert "expansion" not in printed
