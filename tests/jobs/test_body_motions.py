"""`blush motions`: from the folder of a run to findings, maps, a page and tables of chosen images."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bodies"))

from drawn import hinge, seen, still
from drawn_run import BOX, LUMPS, PIXEL, write_run

from blush.bodies.motions import write_motions
from blush.cli.main import app
from blush.errors import BlushError
from blush.io.files import load_npz
from blush.io.mrc import read_volume, write_stack
from blush.io.star import read_star, write_star
from blush.jobs.body_motions import Choice, find_motions, select_images

N = 500


@pytest.fixture(scope="module")
def angles():
    rng = np.random.default_rng(1)
    return np.where(rng.random(N) < 0.5, -15.0, 15.0) + rng.normal(0, 3, N)


@pytest.fixture(scope="module")
def motions(angles):
    return seen(LUMPS, hinge(LUMPS, angles), 1)


@pytest.fixture(scope="module")
def run(motions, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    write_run(run, motions)
    return run


@pytest.fixture(scope="module")
def found(run):
    return find_motions(run, 1)


def called(*words):
    """What a command says."""
    done = CliRunner().invoke(app, ["motions", *map(str, words)])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def write_table(folder, n=N):
    """A particle table with its stack."""
    write_stack(folder / "images.mrcs", np.tile(np.arange(n, dtype=np.float32)[:, None, None], (1, 4, 4)), PIXEL)
    optics = {
        "rlnOpticsGroup": [1], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7], "rlnAmplitudeContrast": [0.1],
        "rlnImagePixelSize": [PIXEL], "rlnImageSize": [4],
    }  # fmt: skip
    table = {
        "rlnImageName": np.array([f"{i + 1}@images.mrcs" for i in range(n)], dtype=object),
        "rlnOpticsGroup": np.ones(n, dtype=int),
        "rlnDefocusU": np.full(n, 1e4),
    }
    write_star(folder / "particles.star", {"optics": optics, "particles": table})
    return folder / "particles.star"


def test_of_a_run_findings_maps_and_a_page_are_written(run, angles):
    told = called(run, "--components", 1)
    folder = run / "motions"
    content = json.loads((folder / "motions.json").read_text())
    assert content["verdict"] in told
    assert content["verdict"].startswith("One component of motion beyond the uncertainty of the poses: head turns by")
    assert content["components_beyond_noise"] == 1
    assert content["moving"][0]["modes"]["count"] == 2
    places = load_npz(folder / "places.npz")
    assert abs(np.corrcoef(places["place_angst_1"], angles)[0, 1]) > 0.9
    frames = [read_volume(folder / f"component1_frame{number}.mrc") for number in range(1, 10)]
    assert all(volume.shape == (BOX,) * 3 and pixel == pytest.approx(PIXEL) for volume, pixel in frames)
    middle = frames[4][0]
    changes = [float(np.square(volume - middle).sum()) for volume, _ in frames]
    assert changes[0] > changes[2] > changes[3] > 0
    session = (folder / "component1.cxc").read_text()
    assert "open component1_frame1.mrc component1_frame2.mrc" in session
    assert "vseries play #1 direction oscillate" in session
    first, second = (read_volume(folder / f"combined_half{half}.mrc")[0] for half in (1, 2))
    average, mask = (read_volume(folder / f"{name}.mrc")[0] for name in ("combined", "combined_mask"))
    np.testing.assert_allclose(average, (first + second) / 2, atol=1e-6)
    assert np.corrcoef(average[mask > 0.5], middle[mask > 0.5])[0, 1] > 0.8
    assert 6 < content["combined"]["resolution_angst"] < 15
    page = (folder / "motions.html").read_text()
    assert page.index(content["verdict"]) < page.index("<svg")
    assert page.count("data-frame=") == 9
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org", "")


def test_images_are_chosen_by_place_and_by_mode(run, found, angles, tmp_path):
    table = write_table(tmp_path)
    told = called(run, "--component", 1, "--mode", 2, "--particles", table, "-o", tmp_path / "upper.star")
    chosen = read_star(tmp_path / "upper.star")["particles"]
    rows = np.array([int(str(name).split("@")[0]) - 1 for name in chosen["rlnImageName"]])
    assert told.startswith(f"{len(rows)} of {N} images")
    sides = np.sign(angles[rows])
    assert abs(sides.sum()) > 0.95 * len(rows)
    assert len(rows) == pytest.approx(N / 2, rel=0.1)
    assert (chosen["blushMotion"] > 0).mean() > 0.9
    path, count = select_images(found, Choice(1, -2, -0.5), None, table)
    assert path == run / "component1_-2_to_-0.5.star"
    lower = read_star(path)["particles"]
    assert len(lower["rlnImageName"]) == count
    place = lower["blushMotion"].astype(float)
    assert place.min() >= -2
    assert place.max() <= -0.5
    others = {int(str(name).split("@")[0]) - 1 for name in lower["rlnImageName"]}
    assert len(others & set(rows.tolist())) < 0.02 * N
    assert (lower["blushMotionError"].astype(float) > 0).all()


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (Choice(7), "is no component beyond noise .found 7.; give a number from 1 to 1"),
        (Choice(1, mode=3), "is no mode .found 3.; component 1 has 2"),
        (Choice(1, low=50), "no image is there .found 50 to any.; places go from"),
        (Choice(1), "does not say which images it is of; add --particles"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(found, choice, told):
    with pytest.raises(BlushError, match=told):
        select_images(found, choice, None, None)


def test_a_choice_needs_a_component(run):
    with pytest.raises(BlushError, match="say along which one images are chosen: --component 1"):
        called(run, "--mode", 1)


def test_another_table_is_refused(found, tmp_path):
    with pytest.raises(BlushError, match=r"is another table .found 3 images, 500 in the record"):
        select_images(found, Choice(1), None, write_table(tmp_path, 3))
    table = write_table(tmp_path)
    with pytest.raises(BlushError, match="would replace the table that is read"):
        select_images(found, Choice(1), table, table)


def test_a_record_by_itself_is_told_without_maps(tmp_path):
    write_motions(tmp_path / "other.npz", seen(LUMPS, still(200, 2), 1))
    told = called(tmp_path / "other.npz", "--out", tmp_path / "found")
    assert told.startswith("No motion beyond the uncertainty of the poses.")
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == [
        "motions.html",
        "motions.json",
        "places.npz",
    ]
    page = (tmp_path / "found/motions.html").read_text()
    assert "No motion beyond the uncertainty of the poses." in page
    assert "data-film" not in page


def test_missing_maps_and_records_are_told(tmp_path):
    (tmp_path / "import").mkdir()
    (tmp_path / "import/bodies.json").write_text("{}")
    write_motions(tmp_path / "motions.npz", seen(LUMPS, still(200, 2), 1))
    with pytest.raises(BlushError, match=r"body001/run_class001.mrc: is missing; finish the run, or add --no-maps"):
        called(tmp_path)
    called(tmp_path, "--no-maps")
    with pytest.raises(BlushError, match="is not there; give the folder of a finished run"):
        called(tmp_path / "import")
