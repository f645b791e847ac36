"""The tables of an iteration: what is kept, what is written, and that they read back as what they say."""

import dataclasses
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.refine.angular_distribution import direction_counts, unit_vectors
from blush.refine.control import ControlSettings
from blush.refine.outputs import DirectionTable, OutputParticles, write_iteration_outputs
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State

N, BOX, PIXEL = 12, 24, 2.0
MICROGRAPHS = np.array(["b.mrc", "a.mrc", "c.mrc"] * 4, dtype=object)


@pytest.fixture
def table(tmp_path) -> OutputParticles:
    """Twelve particles in two optics groups and three micrographs, with columns that Blush does not know."""
    rng = np.random.default_rng(5)
    with mrcfile.new(tmp_path / "stack.mrcs") as stack:
        stack.set_data(rng.normal(size=(N, BOX, BOX)).astype(np.float32))
        stack.voxel_size = PIXEL
    optics = {
        "rlnOpticsGroup": np.array([1, 2]),
        "rlnOpticsGroupName": np.array(["first", "second"], dtype=object),
        "rlnVoltage": np.array([300.0, 300.0]),
        "rlnSphericalAberration": np.array([2.7, 2.7]),
        "rlnAmplitudeContrast": np.array([0.1, 0.1]),
        "rlnImagePixelSize": np.array([PIXEL, PIXEL]),
        "rlnImageSize": np.array([BOX, BOX]),
        "rlnImageDimensionality": np.array([2, 2]),
    }
    particles = {
        "rlnImageName": np.array([f"{i + 1:06d}@stack.mrcs" for i in range(N)][::-1], dtype=object),
        "rlnMicrographName": MICROGRAPHS,
        "rlnOpticsGroup": np.array([2, 1, 2] * 4),
        "rlnDefocusU": rng.uniform(1e4, 2e4, N).round(6),
        "rlnOriginX": np.full(N, 3.0),
        "rlnOriginY": np.full(N, -3.0),
        "rlnRandomSubset": np.arange(N) % 2 + 1,
        "rlnAutopickFigureOfMerit": rng.random(N).round(6) + 0.1,
        "rlnMySoftwaresNote": np.array([f"note {i}" for i in range(N)], dtype=object),
    }
    write_star(tmp_path / "particles.star", {"optics": optics, "particles": particles})
    numbers, blocks = read_particles(tmp_path / "particles.star")
    names = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "norm_correction", "pmax")
    poses = {name: rng.random(N).round(6) + 0.1 for name in (*names, "log_likelihood")}
    poses["n_significant"] = np.arange(N) + 1.0
    return OutputParticles(blocks, numbers, poses)


def states() -> tuple[State, State]:
    rng = np.random.default_rng(6)
    particles = ParticleGeometry(BOX, PIXEL, 40.0, "C1", 3)
    used = first_state(particles, FirstSampling(), ControlSettings(), rng.random((2, 2, 13)) + 0.1, 1, False)
    after = dataclasses.replace(
        used,
        iteration=1,
        search=dataclasses.replace(used.search, healpix_order=3, current_size_px=24),
        images=dataclasses.replace(
            used.images,
            noise=rng.random((2, 2, 13)) + 0.1,
            scale=rng.random((2, 3)) + 0.5,
            norm_average=np.array([0.7, 0.9]),
        ),
        references=dataclasses.replace(
            used.references, fsc=rng.random((1, 13)) + 0.1, tau2=rng.random((2, 1, 13)) + 0.1
        ),
    )
    return used, after


def write(tmp_path: Path, table: OutputParticles, prefix: str = "run_it001", **more) -> list[Path]:
    used, after = states()
    return write_iteration_outputs(tmp_path / "results", prefix, used, after, table, **more)


def test_poses_and_fit_are_written_in_input_order(tmp_path, table):
    write(tmp_path, table)
    found = read_star(tmp_path / "results/run_it001_data.star")["particles"]
    assert list(found["rlnImageName"]) == [f"{i:06d}@stack.mrcs" for i in range(N, 0, -1)]
    for theirs, ours in (
        ("rlnAngleTilt", "tilt_deg"),
        ("rlnOriginYAngst", "offset_y_angst"),
        ("rlnMaxValueProbDistribution", "pmax"),
        ("rlnLogLikeliContribution", "log_likelihood"),
    ):
        np.testing.assert_allclose(found[theirs], table.poses[ours], atol=5e-7)
    assert list(found["rlnNrOfSignificantSamples"]) == list(range(1, N + 1))
    assert list(found["rlnClassNumber"]) == [1] * N
    assert list(found["rlnGroupNumber"]) == [2, 1, 3] * 4


def test_unknown_columns_survive_and_stale_origins_do_not(tmp_path, table):
    write(tmp_path, table)
    given = read_star(tmp_path / "particles.star")
    found = read_star(tmp_path / "results/run_it001_data.star")
    for name in ("rlnAutopickFigureOfMerit", "rlnMySoftwaresNote", "rlnDefocusU", "rlnRandomSubset"):
        assert list(found["particles"][name]) == list(given["particles"][name])
    assert set(found["optics"]) >= set(given["optics"])
    assert not {"rlnOriginX", "rlnOriginY"} & set(found["particles"])


def test_what_is_written_reads_back_as_the_same_particles(tmp_path, table):
    [data, *_] = write(tmp_path, table)
    data = data.rename(tmp_path / "again.star")  # beside the stack, as the input was
    again, _ = read_particles(data)
    assert again.has_poses
    assert np.array_equal(again.half, table.particles.half)
    assert np.array_equal(again.optics_index, table.particles.optics_index)
    np.testing.assert_allclose(again.psi_deg, table.poses["psi_deg"], atol=5e-7)
    np.testing.assert_allclose(again.offset_x_angst, table.poses["offset_x_angst"], atol=5e-7)


def test_each_half_has_its_own_model(tmp_path, table):
    write(tmp_path, table)
    _, after = states()
    for half in (1, 2):
        model = read_star(tmp_path / f"results/run_it001_half{half}_model.star")
        for optics in (1, 2):
            written = model[f"model_optics_group_{optics}"]["rlnSigma2Noise"]
            np.testing.assert_allclose(written, after.images.noise[half - 1, optics - 1], atol=5e-7)
        np.testing.assert_allclose(
            model["model_class_1"]["rlnReferenceTau2"], after.references.tau2[half - 1, 0], atol=5e-7
        )
        np.testing.assert_allclose(model["model_class_1"]["rlnGoldStandardFsc"], after.references.fsc[0], atol=5e-7)
        np.testing.assert_allclose(
            model["model_groups"]["rlnGroupScaleCorrection"], after.images.scale[half - 1], atol=5e-7
        )
        rows = table.particles.half == half
        general = model["model_general"]
        assert general["rlnLogLikelihood"][0] == pytest.approx(table.poses["log_likelihood"][rows].sum(), abs=1e-6)
        assert general["rlnAveragePmax"][0] == pytest.approx(table.poses["pmax"][rows].mean(), abs=1e-6)
        assert general["rlnNormCorrectionAverage"][0] == pytest.approx((0.7, 0.9)[half - 1])
        assert str(model["model_classes"]["rlnReferenceImage"][0]).endswith(f"run_it001_half{half}_class001.mrc")


def test_scale_groups_take_the_noise_of_their_own_optics_group(tmp_path, table):
    """Micrograph a is of optics group 1, b and c are of 2; RELION 3.1 reads noise per micrograph."""
    write(tmp_path, table)
    _, after = states()
    model = read_star(tmp_path / "results/run_it001_half1_model.star")
    assert list(model["model_groups"]["rlnGroupName"]) == ["a.mrc", "b.mrc", "c.mrc"]
    assert list(model["model_groups"]["rlnGroupNrParticles"]) == [2, 2, 2]
    for group, optics in ((1, 0), (2, 1), (3, 1)):
        written = model[f"model_group_{group}"]["rlnSigma2Noise"]
        np.testing.assert_allclose(written, after.images.noise[0, optics], atol=5e-7)


def test_sampling_is_that_of_the_iteration_not_of_the_next(tmp_path, table):
    write(tmp_path, table)
    used, _ = states()
    sampling = read_star(tmp_path / "results/run_it001_sampling.star")["sampling_general"]
    assert sampling["rlnHealpixOrder"][0] == 2
    assert sampling["rlnPsiStep"][0] == 15.0
    model = read_star(tmp_path / "results/run_it001_model.star")["model_general"]
    assert model["rlnCurrentImageSize"][0] == used.search.current_size_px == 22
    assert sampling["rlnSamplingPerturbInstance"][0] == pytest.approx(used.search.perturbation, abs=1e-6)


def test_directions_are_listed_with_their_share(tmp_path, table):
    directions = DirectionTable(np.array([[0.0, 90.0], [120.0, 45.0]]), np.array([[1.0, 3.0], [0.0, 0.0]]))
    write(tmp_path, table, directions=directions)
    listed = read_star(tmp_path / "results/run_it001_sampling.star")["sampling_directions"]
    assert list(listed["rlnAngleRot"]) == [0.0, 120.0]
    half1 = read_star(tmp_path / "results/run_it001_half1_model.star")["model_pdf_orient_class_1"]
    assert list(half1["rlnOrientationDistribution"]) == [0.25, 0.75]
    half2 = read_star(tmp_path / "results/run_it001_half2_model.star")["model_pdf_orient_class_1"]
    assert list(half2["rlnOrientationDistribution"]) == [0.5, 0.5]  # nothing counted


def test_the_last_iteration_has_final_names_joint_model_and_directions(tmp_path, table):
    paths = write(tmp_path, table, prefix="run")
    assert sorted(p.name for p in paths) == [
        "run_class001_angdist.bild",
        "run_data.star",
        "run_half1_class001_angdist.bild",
        "run_half1_model.star",
        "run_half2_class001_angdist.bild",
        "run_half2_model.star",
        "run_model.star",
        "run_optimiser.star",
        "run_sampling.star",
    ]
    assert all(p.is_file() for p in paths)
    joint = read_star(tmp_path / "results/run_model.star")
    assert str(joint["model_classes"]["rlnReferenceImage"][0]).endswith("run_class001.mrc")
    half = read_star(tmp_path / "results/run_half2_model.star")
    assert str(half["model_classes"]["rlnReferenceImage"][0]).endswith("run_half2_class001_unfil.mrc")


def test_the_same_iteration_gives_the_same_bytes(tmp_path, table):
    first = {p.name: p.read_bytes() for p in write(tmp_path, table, prefix="run")}
    assert {p.name: p.read_bytes() for p in write(tmp_path, table, prefix="run")} == first


def test_names_are_relative_to_the_project_that_holds_the_run(tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, table)
    optimiser = read_star(tmp_path / "results/run_it001_optimiser.star")["optimiser_general"]
    assert optimiser["rlnExperimentalDataStarFile"][0] == "results/run_it001_data.star"
    monkeypatch.chdir("/")
    write(tmp_path / "results", table)
    elsewhere = read_star(tmp_path / "results/results/run_it001_optimiser.star")["optimiser_general"]
    named = str(tmp_path.relative_to("/") / "results/results/run_it001_data.star")
    assert elsewhere["rlnExperimentalDataStarFile"][0] == named


def test_poses_of_another_length_are_refused(tmp_path, table):
    short = dataclasses.replace(table, poses={**table.poses, "psi_deg": np.zeros(N - 1)})
    with pytest.raises(ValueError, match="rlnAnglePsi has 11 rows for 12 particles"):
        write(tmp_path, short)


def test_every_particle_counts_for_its_nearest_direction():
    centres = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    rot, tilt = np.array([0.0, 10.0, 80.0, 91.0]), np.array([5.0, 85.0, 88.0, 60.0])
    assert list(direction_counts(rot, tilt, centres)) == [1, 1, 2]
    assert list(direction_counts(np.zeros(0), np.zeros(0), centres)) == [0, 0, 0]


def test_directions_are_the_last_row_of_the_rotation():
    np.testing.assert_allclose(unit_vectors(np.array([30.0]), np.array([90.0])), [[np.sqrt(3) / 2, 0.5, 0]], atol=1e-15)


def test_the_longest_cylinder_stands_on_the_commonest_direction(tmp_path, table):
    poses = {**table.poses, "rot_deg": np.zeros(N), "tilt_deg": np.where(np.arange(N) < 9, 0.0, 90.0)}
    write(tmp_path, dataclasses.replace(table, poses=poses), prefix="run")
    lines = (tmp_path / "results/run_class001_angdist.bild").read_text().splitlines()
    cylinders = [np.array(line.split()[1:], dtype=float) for line in lines if line.startswith(".cylinder")]
    assert len(cylinders) == 2
    longest = max(cylinders, key=lambda c: np.linalg.norm(c[3:6] - c[:3]))
    middle = BOX * PIXEL / 2
    assert longest[5] - middle > 1.2 * middle  # along z, beyond the sphere that touches the box
