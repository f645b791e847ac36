"""Directions from files: a run's, or half-maps and a table; what cannot be measured is told."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.files import load_npz
from blush.io.mrc import write_volume
from blush.io.star import write_star
from blush.jobs.orientation import source_of_run

BOX, PIXEL, N = 32, 3.0, 600


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Half-maps of one signal, and a table of uniform views; rot and tilt of row 0 are those of +x."""
    folder, random = tmp_path_factory.mktemp("files"), np.random.default_rng(1)
    signal = random.standard_normal((BOX,) * 3)
    for half in (1, 2):
        write_volume(folder / f"half{half}.mrc", signal + 0.3 * random.standard_normal((BOX,) * 3), PIXEL)
    tilt = np.rad2deg(np.arccos(random.uniform(-1, 1, N)))
    tilt[0] = 90.0
    rot = random.uniform(-180, 180, N)
    rot[0] = 0.0
    optics = {"rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
              "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [PIXEL], "rlnImageSize": [BOX]}  # fmt: skip
    particles = {"rlnImageName": [f"{i + 1:06d}@none.mrcs" for i in range(N)], "rlnOpticsGroup": np.ones(N, int),
                 "rlnDefocusU": np.full(N, 1e4), "rlnDefocusV": np.full(N, 1e4), "rlnDefocusAngle": np.zeros(N),
                 "rlnAngleRot": rot, "rlnAngleTilt": tilt, "rlnAnglePsi": np.zeros(N)}  # fmt: skip
    write_star(folder / "poses.star", {"optics": optics, "particles": particles}, "test")
    del particles["rlnAngleRot"], particles["rlnAngleTilt"], particles["rlnAnglePsi"]
    write_star(folder / "bare.star", {"optics": optics, "particles": particles}, "test")
    return folder


def called(*arguments):
    result = CliRunner().invoke(app, ["orientation", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def options(folder, table="poses.star"):
    return ["--half1", folder / "half1.mrc", "--half2", folder / "half2.mrc", "--particles", folder / table]


def test_half_maps_and_a_table_are_judged(files, tmp_path):
    told = called(*options(files), "--symmetry", "C2", "--out", tmp_path / "found")
    assert told.startswith("directions are even")
    assert "cFAR  0." in told
    assert "SCF*  0." in told
    record = json.loads((tmp_path / "found/orientation.json").read_text())
    assert record["orientation"]["verdict"] == told.splitlines()[0]
    counts = load_npz(tmp_path / "found/orientation.npz")["view_counts"]
    assert counts.sum() == 2 * N
    assert counts[15, 30] > 0  # +x: tilt 90°, rot 0°
    page = (tmp_path / "found/orientation.html").read_text()
    assert "Directions are even" in page


def test_equal_files_give_equal_figures(files, tmp_path):
    for name in ("one", "two"):
        called(*options(files), "--out", tmp_path / name)
    for file in ("orientation.json", "orientation.npz", "orientation.html"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda options: options[:4], "give a finished run, or --half1, --half2 and --particles"),
        (lambda options: ["somewhere", *options], "give a finished run, or --half1, --half2 and --particles"),
        (lambda options: [*options[:5], options[5].with_name("bare.star")], "no rlnAngleRot, rlnAngleTilt"),
        (lambda options: [*options, "--symmetry", "D0"], "'D0' is not a point group"),
    ],
)
def test_what_is_missing_is_told(files, change, message):
    with pytest.raises(BlushError, match=message):
        called(*change(options(files)))


def test_a_run_that_has_not_finished_is_refused(tmp_path):
    with pytest.raises(BlushError, match="is no finished refinement"):
        source_of_run(tmp_path)
