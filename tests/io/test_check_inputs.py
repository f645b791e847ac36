"""Everything that a configuration names is checked together."""

import numpy as np
import pytest

from blush.io.mrc import write_volume
from blush.io.star import read_star, write_star


@pytest.fixture
def configure(project):
    """Write a correct run around the project; returns a writer of its YAML with changes."""
    project.write()
    generator = np.random.default_rng(0)
    write_volume(project.root / "reference.mrc", generator.random((20, 20, 20)), 2.5)
    write_volume(project.root / "map.mrc", generator.random((16, 16, 16)), 3.0)
    write_volume(project.root / "faint.mrc", 0.4 * generator.random((16, 16, 16)), 3.0)
    write_volume(project.root / "near.mrc", generator.random((16, 16, 16)), 3.01)
    poses = {name: generator.uniform(0, 90, 8) for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")}
    elsewhere = {"rlnImageName": np.array([f"{i + 1}@moved.mrcs" for i in range(8)], dtype=object)}
    true = {"optics": project.optics, "particles": project.particles | poses | elsewhere}
    write_star(project.root / "truth.star", true)

    def write(changes=()):
        settings = {
            "name": "run",
            "particles": "particles.star",
            "reference": "reference.mrc",
            "mask": "map.mrc",
            "particle_diameter_angst": 30,
            "truth": "{particles: truth.star, map: map.mrc, mask: map.mrc}",
        } | dict(changes)
        path = project.root / "run.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in settings.items()))
        return path

    return write


def test_a_correct_run_has_no_problems(configure, run_check):
    path = configure()
    assert run_check(path) == (0, f"{path}: 8 particles, no problems, 0 warning(s)\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference": "gone.mrc"}, "gone.mrc: file does not exist; correct the path"),
        ({"mask": "particles.star"}, "particles.star: is "),
        (
            {"postprocess": "{mask: reference.mrc}"},
            "reference.mrc, header: mask has another box than the particles (found 20 px); pad or crop it to 16 px",
        ),
        (
            {"particle_diameter_angst": 60},
            "particle_diameter_angst: particle is wider than its box (found 60 Å in a box of 48 Å); give at most 48",
        ),
        (
            {"initial_lowpass_angst": 5},
            "initial_lowpass_angst: filter is beyond the Nyquist limit of the particles (found 5 Å); give at least 6 Å",
        ),
        (
            {"initial_lowpass_angst": 100},
            "initial_lowpass_angst: filter leaves nothing of the reference (found 100 Å in a box of 48 Å); give less",
        ),
        ({"particle_diameter_angst": 5}, "particle is smaller than a few pixels (found 5 Å, with pixels of 3 Å)"),
        ({"particle_diameter_angst": "1.0e+400"}, "particle_diameter_angst: has to be a finite number"),
        ({"compute": "{memory_gb: 1.0e+400}"}, "compute.memory_gb: has to be a finite number"),
        ({"sampling": "{offset_range_px: 9}"}, "sampling.offset_range_px: search for offsets leaves the image"),
        ({"mask": "faint.mrc"}, "faint.mrc, mask values: mask lets nothing through"),
        ({"postprocess": "{mask: faint.mrc}"}, "mask lets nothing through (found at most 0.39"),
        ({"postprocess": "{mask: near.mrc}"}, "near.mrc, header: mask has another pixel size than the particles"),
        (
            {"reference_pixel_size_angst": 1.2},
            "reference is 24 Å wide, and the particle 30 Å (found 1.2 Å); give a map of the whole particle",
        ),
        (
            {"refinement": "{start_from: poses}"},
            "particles.star, data_particles: has no poses to start from: rlnAngleRot, rlnAngleTilt or rlnAnglePsi is "
            "missing; add them, or set refinement.start_from: global",
        ),
        (
            {"truth": "{particles: particles.star, map: map.mrc}"},
            "particles.star, data_particles, rlnAngleTilt: column is missing; add it",
        ),
        (
            {"truth": "{particles: truth.star, map: reference.mrc}"},
            "true map has another pixel size than the particles",
        ),
    ],
)
def test_each_input_is_checked(configure, run_check, changes, message):
    status, printed = run_check(configure(changes))
    assert status == 2
    assert message in printed


def test_true_poses_must_be_as_many_as_the_particles(configure, run_check, project):
    path = configure()
    blocks = read_star(project.root / "truth.star")
    blocks["particles"] = {name: column[:5] for name, column in blocks["particles"].items()}
    write_star(project.root / "truth.star", blocks)
    status, printed = run_check(path)
    assert status == 2
    assert "truth.star, data_particles: true poses do not belong to the particles (found 5 rows for 8 " in printed


def test_a_truth_that_the_end_of_a_run_cannot_read_is_refused(configure, run_check, project):
    path = configure()
    blocks = read_star(project.root / "truth.star")
    write_star(project.root / "truth.star", {"particles": blocks["particles"]})
    status, printed = run_check(path)
    assert status == 2
    assert "truth.star, data_optics is missing: is a STAR file from before RELION 3.1 and lacks rlnVoltage" in printed


def test_a_pixel_size_of_zero_is_refused_where_it_is(configure, run_check, project):
    project.optics["rlnImagePixelSize"] = np.array([0.0])
    project.write()
    status, printed = run_check(configure())
    assert status == 2
    assert "particles.star, data_optics row 1: rlnImagePixelSize must be above 0" in printed


def test_mistakes_of_all_inputs_come_together(configure, run_check, project):
    project.particles["rlnRandomSubset"][:] = 1
    project.write()
    status, printed = run_check(configure({"reference": "gone.mrc", "particle_diameter_angst": 60}))
    assert status == 2
    assert f"blush: {project.root / 'run.yaml'} cannot be used: 3 problem(s)\n" in printed


def filaments(project):
    """Two filaments in two micrographs, as extraction notes them."""
    project.particles |= {
        "rlnHelicalTubeID": np.ones(8, dtype=np.int64),
        "rlnHelicalTrackLengthAngst": np.tile([0.0, 8, 16, 24], 2),
        "rlnAngleTiltPrior": np.full(8, 90.0),
        "rlnAnglePsiPrior": np.full(8, 30.0),
        "rlnAnglePsiFlipRatio": np.full(8, 0.5),
        "rlnRandomSubset": np.repeat([1, 2], 4),
    }


HELIX = {"job": "helix", "mask": "sphere", "helix": "{rise_angst: 4, twist_deg: 37, tube_diameter_angst: 20}"}


def test_a_run_of_filaments_is_checked_with_its_helix(configure, project, run_check):
    filaments(project)
    project.write()
    status, printed = run_check(configure(HELIX))
    assert status == 0
    assert "8 particles, no problems, 1 warning(s)" in printed
    assert "has no coordinates of segments; add rlnCoordinateX, rlnCoordinateY" in printed
    wide = HELIX["helix"].replace("}", ", central_fraction: 0.6}")
    status, printed = run_check(configure(HELIX | {"helix": wide}))
    assert status == 2
    assert "helix.central_fraction: central part reaches beyond the sphere (found 0.6); give 0.167 to" in printed


def test_a_filament_in_both_halves_is_refused_by_name(configure, project, run_check):
    filaments(project)
    project.particles["rlnRandomSubset"] = np.array([1, 1, 1, 2, 2, 2, 2, 2])
    project.write()
    status, printed = run_check(configure(HELIX))
    assert status == 2
    assert (
        "(rlnHelicalTubeID) are in both halves; they overlap, so their noise would agree (found tube 1 of " in printed
    )


def test_segments_that_are_refined_as_particles_are_told(configure, project, run_check):
    filaments(project)
    project.write()
    status, printed = run_check(configure())
    assert status == 0
    assert "segments of filaments are refined as single particles" in printed
