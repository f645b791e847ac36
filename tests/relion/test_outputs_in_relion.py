"""RELION 3.1.3 goes on from the tables that an iteration leaves."""

import contextlib
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blush.io.mrc import read_volume, write_volume
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs.subtract import Subtraction, subtract
from blush.refine.control import ControlSettings
from blush.refine.outputs import DirectionTable, OutputParticles, write_iteration_outputs
from blush.refine.start import FirstSampling, ParticleGeometry, first_state

pytestmark = [
    pytest.mark.relion,
    pytest.mark.skipif(shutil.which("relion_refine") is None, reason="RELION is not on PATH"),
]
BOX, PIXEL, N = 24, 4.0, 200
DIAMETER_ANGST = 80.0


def relion(folder: Path, program: str, *arguments: str) -> str:
    run = subprocess.run([program, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    return run.stdout


def parallel(folder: Path, processes: int, program: str, *arguments: str) -> str:
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    return relion(folder, "mpirun", *root, "--oversubscribe", "-np", str(processes), program, *arguments)


def phantom() -> np.ndarray:
    """Six blobs without symmetry, well inside the box."""
    rng = np.random.default_rng(2)
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    centres = rng.normal(size=(6, 3)) * 3
    blobs = [np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 4) for a, b, c in centres]
    return np.sum(blobs, axis=0).astype(np.float32)


def true_poses() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {
        "rot_deg": rng.uniform(-180, 180, N),
        "tilt_deg": np.degrees(np.arccos(rng.uniform(-1, 1, N))),
        "psi_deg": rng.uniform(-180, 180, N),
        "offset_x_angst": rng.normal(size=N) * 6,
        "offset_y_angst": rng.normal(size=N) * 6,
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A project with projections by RELION and the tables of a refinement that found their true poses."""
    project = tmp_path_factory.mktemp("project")
    write_volume(project / "truth.mrc", phantom(), PIXEL)
    relion_project(project)
    blind = read_star(project / "images.star")
    for name in ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst"):
        del blind["particles"][name]
    write_star(project / "particles.star", blind)
    with contextlib.chdir(project):  # names in the tables start with the run folder as it is given
        write_tables(project)
    return project


def relion_project(project: Path) -> None:
    poses = true_poses()
    table = {
        "rlnAngleRot": poses["rot_deg"],
        "rlnAngleTilt": poses["tilt_deg"],
        "rlnAnglePsi": poses["psi_deg"],
        "rlnOriginXAngst": poses["offset_x_angst"],
        "rlnOriginYAngst": poses["offset_y_angst"],
        "rlnOpticsGroup": np.ones(N, dtype=int),
        "rlnMicrographName": np.array([f"m{i % 5}.mrc" for i in range(N)], dtype=object),
        "rlnDefocusU": np.full(N, 15000.0),
    }
    optics = {
        "rlnOpticsGroup": np.array([1]),
        "rlnOpticsGroupName": np.array(["opticsGroup1"], dtype=object),
        "rlnVoltage": np.array([300.0]),
        "rlnSphericalAberration": np.array([2.7]),
        "rlnAmplitudeContrast": np.array([0.1]),
        "rlnImagePixelSize": np.array([PIXEL]),
        "rlnImageSize": np.array([BOX]),
        "rlnImageDimensionality": np.array([2]),
    }
    write_star(project / "poses.star", {"optics": optics, "particles": table})
    noise = ("--add_noise", "--white_noise", "0.3")
    relion(project, "relion_project", "--i", "truth.mrc", "--o", "images", "--ang", "poses.star", "--ctf", *noise)


def write_tables(project: Path) -> None:
    particles, blocks = read_particles(project / "particles.star")
    particles = replace(particles, half=(np.arange(N) % 2 + 1).astype(np.int8))
    fit = {"norm_correction": np.ones(N), "pmax": np.full(N, 0.5), "log_likelihood": np.full(N, 900.0)}
    poses = true_poses() | fit | {"n_significant": np.full(N, 3.0)}
    geometry = ParticleGeometry(BOX, PIXEL, DIAMETER_ANGST, "C1", 5)
    noise = np.full((2, 1, BOX // 2 + 1), 1 / (2 * BOX**2))
    used = first_state(geometry, FirstSampling(1, 8.0, 8.0), ControlSettings(), noise, 1, False)
    directions = DirectionTable(order_1_directions(), np.ones((2, 48)))
    for prefix in ("run_it001", "run"):
        table = OutputParticles(blocks, particles, poses)
        write_iteration_outputs(Path("results"), prefix, used, replace(used, iteration=1), table, directions)
        for half in (1, 2):
            name = f"{prefix}_half{half}_class001{'_unfil' if prefix == 'run' else ''}.mrc"
            write_volume(project / "results" / name, phantom(), PIXEL)


def order_1_directions() -> np.ndarray:
    from blush.geometry.healpix import pixel_directions

    return np.stack([angle.numpy() for angle in pixel_directions(1)], axis=1)


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    z, y, x = np.mgrid[:BOX, :BOX, :BOX] - BOX // 2
    inside = x**2 + y**2 + z**2 < (BOX / 2 - 2) ** 2
    return float(np.corrcoef(first[inside], second[inside])[0, 1])


def test_relion_reconstructs_the_particle_from_the_final_poses(run):
    relion(run, "relion_reconstruct", "--i", "results/run_data.star", "--o", "map.mrc", "--ctf")
    found, _ = read_volume(run / "map.mrc")
    assert correlation(found, phantom()) > 0.97  # one origin column of the wrong sign: 0.90


def test_relion_reconstructs_one_half_by_its_random_subset(run):
    for half in ("1", "2"):
        output = ("--o", f"half{half}.mrc", "--ctf", "--subset", half)
        relion(run, "relion_reconstruct", "--i", "results/run_data.star", *output)
    first, _ = read_volume(run / "half1.mrc")
    second, _ = read_volume(run / "half2.mrc")
    assert correlation(first, phantom()) > 0.95
    assert np.abs(first - second).max() > 0.01 * np.abs(first).max()  # other particles, other noise


def test_relion_refines_on_from_the_final_poses(run):
    output = run / "onwards"
    output.mkdir()
    arguments = ("--o", "onwards/run", "--ref", "truth.mrc", "--iter", "1", "--skip_align", "--ctf", "--zero_mask")
    control = ("--particle_diameter", str(DIAMETER_ANGST), "--ini_high", "20", "--dont_check_norm", "--pad", "2")
    relion(run, "relion_refine", "--i", "results/run_data.star", *arguments, *control)
    after = read_star(output / "run_it001_data.star")["particles"]
    row = {name: i for i, name in enumerate(after["rlnImageName"])}
    before = read_star(run / "results/run_data.star")["particles"]
    order = [row[name] for name in before["rlnImageName"]]
    np.testing.assert_allclose(after["rlnAngleTilt"][order], before["rlnAngleTilt"], atol=1e-4)
    assert list(after["rlnRandomSubset"][order]) == list(before["rlnRandomSubset"])


@pytest.mark.parametrize(
    ("file", "block", "column", "first"),
    [
        ("run_data.star", "data_particles", "_rlnRandomSubset", "1"),
        ("run_it001_data.star", "data_optics", "_rlnImageSize", "24"),
        ("run_model.star", "data_model_class_1", "_rlnAngstromResolution", "999.000000"),
        ("run_half2_model.star", "data_model_groups", "_rlnGroupName", "m0.mrc"),
        ("run_sampling.star", "data_sampling_directions", "_rlnAngleTilt", "70.528779"),
    ],
)
def test_relion_prints_every_table(run, file, block, column, first):
    printed = relion(run, "relion_star_printtable", f"results/{file}", block, column).split()
    assert printed[0] == first


def test_relion_subtracts_signal_from_the_final_optimiser(run):
    mask = ("--i", "truth.mrc", "--o", "mask.mrc", "--ini_threshold", "0.3")
    relion(run, "relion_mask_create", *mask)
    (run / "subtracted" / "Particles").mkdir(parents=True)  # its second process may write before the first has made it
    arguments = ("--i", "results/run_optimiser.star", "--mask", "mask.mrc", "--o", "subtracted")
    parallel(run, 2, "relion_particle_subtract_mpi", *arguments)
    table = read_star(run / "subtracted/particles_subtracted.star")["particles"]
    assert len(table["rlnImageName"]) == N
    assert_same_images(run, table)


def assert_same_images(run: Path, table: dict) -> None:
    """`blush subtract` on the same optimiser, in the shells that RELION's present image size holds."""
    star = subtract(run / "results/run_optimiser.star", Subtraction(run / "mask.mrc", run / "ours"))
    ours, blocks = read_particles(star)
    theirs, _ = read_particles(run / "subtracted/particles_subtracted.star")
    place = {str(name): row for row, name in enumerate(table["rlnImageOriginalName"])}
    theirs = theirs.take(np.array([place[str(name)] for name in blocks["particles"]["rlnImageOriginalName"]]))
    k = np.fft.fftfreq(BOX, 1 / BOX)
    size = int(read_star(run / "results/run_half1_model.star")["model_general"]["rlnCurrentImageSize"][0])
    inside = np.hypot(k[:, None], k) < size // 2 - 1
    before = read_particles(run / "results/run_data.star")[0].images()
    found, expected, original = (np.fft.fft2(x)[:, inside] for x in (ours.images(), theirs.images(), before))
    assert inside.sum() > 50
    assert np.linalg.norm(found - expected) < 1e-5 * np.linalg.norm(original - expected)
    assert {path.name for path in (run / "ours").glob("*.mrcs")} == {f"subtracted_half{h}_0001.mrcs" for h in (1, 2)}


def test_relion_continues_the_refinement_from_an_iteration(run):
    (run / "continued").mkdir()
    arguments = ("--continue", "results/run_it001_optimiser.star", "--o", "continued/run", "--auto_iter_max", "2")
    printed = parallel(run, 3, "relion_refine_mpi", *arguments)
    assert "Iteration= 2" in printed
    after = read_star(run / "continued/run_it002_data.star")["particles"]
    assert len(after["rlnImageName"]) == N
