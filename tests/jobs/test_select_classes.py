"""Images of some classes as a table of their own."""

import numpy as np
import pytest

from blush.cli.main import main
from blush.errors import BlushError
from blush.io.files import load_npz
from blush.io.mrc import write_stack
from blush.io.particles import read_particles
from blush.io.star import read_star, write_star
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.select_classes import select_classes

OPTICS = {"rlnOpticsGroup": [1], "rlnOpticsGroupName": ["a"], "rlnVoltage": [300.0], "rlnSphericalAberration": [2.7],
          "rlnAmplitudeContrast": [0.1], "rlnImagePixelSize": [2.0], "rlnImageSize": [8],
          "rlnMtfFileName": ["mtf.star"]}  # fmt: skip
CLASSES = [2, 1, 3, 1, 2, 3, 3]


@pytest.fixture
def star(tmp_path):
    """Seven images in two stacks of a project, in a table of a job below it."""
    images = np.zeros((4, 8, 8), np.float32)
    project = tmp_path / "project"
    project.mkdir()
    for name in ("a", "b"):
        write_stack(project / f"{name}.mrcs", images, 2.0)
    mtf = {"rlnResolutionInversePixel": [0.0, 0.5], "rlnMtfValue": [1.0, 0.2]}
    write_star(project / "mtf.star", {"": mtf})
    table = {
        "rlnImageName": np.array([f"{i % 4 + 1:06d}@{'ab'[i // 4]}.mrcs" for i in range(7)], dtype=object),
        "rlnOpticsGroup": np.ones(7, dtype=int),
        "rlnDefocusU": 10000.0 + np.arange(7),
        "rlnClassNumber": np.array(CLASSES),
        "rlnMaxValueProbDistribution": np.array([0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.7]),
        "myColumn": np.array([f"v{i}" for i in range(7)], dtype=object),
    }
    (project / "Class3D").mkdir()
    path = project / "Class3D/run_data.star"
    write_star(path, {"optics": OPTICS, "particles": table})
    return path


def test_rows_keep_their_order_and_columns_and_lead_to_their_images_from_elsewhere(star, tmp_path):
    made = select_classes(star, [3, 1], output=tmp_path / "elsewhere/picked.star")
    assert (made.kept, made.total) == (5, 7)
    blocks, source = read_star(made.path), read_star(star)["particles"]
    table, rows = blocks["particles"], [1, 2, 3, 5, 6]
    assert list(table) == list(source)
    assert table["myColumn"].tolist() == [f"v{i}" for i in rows]
    assert table["rlnClassNumber"].tolist() == [1, 3, 1, 3, 3]
    assert blocks["optics"]["rlnMtfFileName"].tolist() == [str(tmp_path / "project/mtf.star")]
    particles, _ = read_particles(made.path)
    assert particles.stacks == (str(tmp_path / "project/a.mrcs"), str(tmp_path / "project/b.mrcs"))
    assert particles.image_index.tolist() == [1, 2, 3, 1, 2]


def test_names_stay_as_they_are_where_they_still_lead_to_the_images(star):
    made = select_classes(star, [2])
    assert made.path == star.parent / "selected_2.star"
    assert read_star(made.path)["particles"]["rlnImageName"].tolist() == ["000001@a.mrcs", "000001@b.mrcs"]


def test_a_class_can_be_asked_to_be_probable(star):
    made = select_classes(star, [1, 3], least_posterior=0.7)
    assert read_star(made.path)["particles"]["myColumn"].tolist() == ["v2", "v3", "v5", "v6"]


def without(star, column):
    blocks = read_star(star)
    del blocks["particles"][column]
    write_star(star, blocks)


@pytest.mark.parametrize(
    ("classes", "least", "lost", "told"),
    [
        (
            [1, 4],
            None,
            "",
            r"--classes: no image is in this class .found 4.; choose among 1 .2 images., 2 .2 images., 3",
        ),
        ([1], 0.81, "", r"leaves no image .found 0.81.; lower it: the most probable image has 0.800"),
        ([1], 0.5, "rlnMaxValueProbDistribution", "column rlnMaxValueProbDistribution is missing; leave"),
        ([1], None, "rlnClassNumber", "rlnClassNumber: column is missing"),
    ],
)
def test_what_cannot_be_selected_is_refused(star, classes, least, lost, told):
    if lost:
        without(star, lost)
    with pytest.raises(BlushError, match=told):
        select_classes(star, classes, least)
    assert not list(star.parent.glob("selected*"))


def test_the_table_that_is_read_is_never_replaced(star):
    before = star.read_bytes()
    with pytest.raises(BlushError, match="would replace the table that is read"):
        select_classes(star, [1], output=star)
    assert star.read_bytes() == before


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(BlushError, match="is no folder of a classification"):
        select_classes(tmp_path, [1])


def command(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["blush", "select", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_the_command_says_how_many_of_how_many(star, monkeypatch, capsys):
    assert command(monkeypatch, star, "--classes", "1,2", "--least-posterior", "0.6") == 0
    assert capsys.readouterr().out == f"3 of 7 images: {star.parent / 'selected_1_2.star'}\n"
    assert command(monkeypatch, star, "--classes", "one") == 2
    assert "is no list of numbers (found one); write it as --classes 1,3" in capsys.readouterr().err


def test_a_run_is_selected_from_as_its_last_iteration_divided_it(make_config, simulated, tmp_path):
    """It has not ended, and its table is not written yet."""
    classify = {"job": "classify", "name": "classes", "particles": simulated / "truth.star",
                "classification": {"classes": 2, "start_from": "random"}}  # fmt: skip
    config = make_config(tmp_path, **classify)
    steps.import_run(config)
    run = config.run_dir
    steps.start(run)
    with pytest.raises(BlushError, match="has not divided its images yet"):
        select_classes(run, [1])
    iterate(run, 1)
    iterate(run, 2)
    poses = load_npz(run / "it002/poses.npz")
    common = int(np.bincount(poses["class_number"]).argmax())
    posterior = poses["shares"][:, common - 1]
    mine = poses["class_number"] == common
    least = float(np.median(posterior[mine]))
    wanted = mine & (posterior >= least)
    assert 0 < wanted.sum() < mine.sum()
    made = select_classes(run, [common], least_posterior=least)
    assert (made.path, made.kept, made.total) == (run / f"selected_{common}.star", int(wanted.sum()), 48)
    particles, blocks = read_particles(made.path)
    true, _ = read_particles(simulated / "truth.star")
    assert set(particles.stacks) <= set(true.stacks)
    assert particles.defocus_u_angst.tolist() == true.defocus_u_angst[wanted].tolist()
    assert set(blocks["particles"]["rlnClassNumber"].tolist()) == {common}


def test_a_refinement_has_no_classes(make_config, tmp_path):
    config = make_config(tmp_path)
    steps.import_run(config)
    with pytest.raises(BlushError, match="is a refinement, which has no classes"):
        select_classes(config.run_dir, [1])
