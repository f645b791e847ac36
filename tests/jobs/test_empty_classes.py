"""A class that no image is like, and classes that nothing parts, end with finite maps and tables, and a warning."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from blush.io.files import load_npz, read_json
from blush.io.mrc import read_volume
from blush.io.star import read_star, write_star
from blush.jobs.autorefine import autorefine
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state
from blush.report.page import write_report

N = 40
GAP = {"classes": 3, "start_from": "labels"}
SPECTRUM = {"prior": "spectrum", "folds": 1}


@pytest.fixture
def classify(make_config, simulated, tmp_path):
    """Classify 40 images at their true poses, labelled 1 and 3; every division by zero on the way is an error."""
    blocks = read_star(simulated / "truth.star")
    blocks["particles"] = {name: column[:N] for name, column in blocks["particles"].items()}
    blocks["particles"]["rlnClassNumber"] = np.arange(N) % 2 * 2 + 1
    (tmp_path / "stacks").symlink_to(simulated / "stacks")
    write_star(tmp_path / "few.star", blocks)

    def run(section) -> Path:
        given = {"job": "classify", "particles": tmp_path / "few.star", "refinement": {"iteration_tables": True}}
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            return autorefine(make_config(tmp_path, classification={"max_iterations": 3} | section, **given))

    return run


def assert_finite(run: Path) -> None:
    """Every map, array and table of a run."""
    for path in run.rglob("*.mrc"):
        assert np.isfinite(read_volume(path)[0]).all(), path
    for path in run.rglob("*.npz"):
        for name, values in load_npz(path).items():
            assert values.dtype.kind != "f" or np.isfinite(values).all(), (path, name)
    for path in run.glob("run_it*.star"):
        text = path.read_text().lower()
        assert " nan" not in text, path
        assert " inf" not in text, path


@pytest.mark.parametrize(
    "section",
    [
        GAP,
        pytest.param(GAP | SPECTRUM, marks=pytest.mark.slow),
        pytest.param(GAP | {"search": "local"}, marks=pytest.mark.slow),
        pytest.param(GAP | {"search": "local"} | SPECTRUM, marks=pytest.mark.slow),
    ],
    ids=lambda section: ",".join(map(str, section.values())),
)
def test_a_class_without_images_is_told_and_harms_nothing(section, classify):
    run = classify(section)
    assert_finite(run)
    share = load_state(RunFolder(run).state(3)).references.share
    assert share[1] * N < 1
    assert share.sum() == pytest.approx(1)
    summary = read_json(run / "summary.json")
    assert any(text.startswith("class 2 is empty") for text in summary["warnings"])
    assert [one["images"] for one in summary["classes"]][1] == 0
    assert sum(one["images"] for one in summary["classes"]) == N
    assert "rlnClassDistribution" in (run / "run_it003_model.star").read_text()
    assert write_report(run).stat().st_size > 0


def test_an_empty_class_starts_as_the_mean_of_the_others(classify):
    """It has no images to say more: what it shares with the others is all that is known of it."""
    run = classify(GAP | {"max_iterations": 1})
    one, empty, other = (read_volume(run / f"run_it001_class00{k}.mrc")[0].ravel() for k in (1, 2, 3))
    mean = (one + other) / 2
    assert empty.std() > 0
    assert np.corrcoef(empty, mean)[0, 1] > 0.95


@pytest.mark.slow
def test_more_classes_than_the_images_hold_end_well(classify):
    run = classify({"classes": 5})
    assert_finite(run)
    summary = read_json(run / "summary.json")
    assert sum(one["images"] for one in summary["classes"]) == N
    told = " ".join(summary["warnings"])
    for one in summary["classes"]:
        if one["images"] == 0:
            assert f"class {one['class']} is " in told


def test_halves_of_one_fold_are_refused_before_anything_runs(classify):
    with pytest.raises(ValueError, match=r"prior: difference compares halves of the images; set folds: 2 or more"):
        classify({"classes": 2, "folds": 1})


def test_a_search_with_several_maps_needs_two_folds_in_each_half(classify):
    with pytest.raises(ValueError, match=r"needs two folds in each half; set folds: 4 or more"):
        classify(GAP | {"folds": 2, "search": "global"})
