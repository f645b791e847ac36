"""A classification through Snakemake: the same rules, the same bytes as in one process, and what a user changes."""

import json
import sys

import pytest
from workflow_helpers import blush, digests, refused, run, snakemake

from blush.io.files import load_npz

CLASSES = {"classes": 2, "max_iterations": 2, "folds": 2, "start_from": "random"}


@pytest.fixture
def make_classification(make_config, particles):
    """Write the configuration of a classification at the true poses."""

    def make(folder, **changes):
        given = {"job": "classify", "particles": str(particles / "truth.star"), "truth": None}
        return make_config(folder, classification=CLASSES | changes, refinement={"iteration_tables": True}, **given)

    return make


def test_a_dry_run_knows_one_subset_and_its_folds(make_classification, tmp_path):
    said = run(snakemake(make_classification(tmp_path), "--dry-run"))
    for name in ("it001/all_shards.json", "it001/all_sums.npz", "it001/all_sums_fold1.npz", "classes.json"):
        assert f"results/tiny/{name}" in said
    assert "half1" not in said
    assert "postprocess.mrc" not in said


@pytest.mark.slow
def test_the_workflow_classifies_to_the_bytes_of_one_process(make_classification, tmp_path):
    """Then it has nothing to do, goes on where more iterations are asked for, and refuses other classes."""
    configs = {}
    for name in ("one", "rules"):
        (tmp_path / name).mkdir()
        configs[name] = make_classification(tmp_path / name)
    blush("classify", configs["one"], "--quiet", cwd=tmp_path / "one")
    run(snakemake(configs["rules"]))
    folders = {name: tmp_path / name / "results/tiny" for name in configs}
    left = {path.name for path in folders["rules"].iterdir()}
    assert {"run_it002_class001.mrc", "run_it002_class002.mrc", "run_it002_data.star", "report.html"} <= left
    assert "run_class001.mrc" not in left
    assert not (folders["rules"] / "postprocess").exists()
    assert digests(folders["rules"]) == digests(folders["one"])
    assert "Nothing to be done" in run(snakemake(configs["rules"]))
    for name in configs:
        make_classification(tmp_path / name, max_iterations=3)
    run(snakemake(configs["rules"]))
    blush("classify", configs["one"], "--quiet", cwd=tmp_path / "one")
    assert json.loads((folders["rules"] / "summary.json").read_text())["iterations"] == 3
    assert digests(folders["rules"]) == digests(folders["one"])
    make_classification(tmp_path / "rules", classes=3)
    assert "classification.classes: was 2, now 3" in refused(snakemake(configs["rules"]))


@pytest.mark.slow
def test_a_damaged_result_is_made_again(make_classification, tmp_path):
    """In the folder of a run by one process, which the workflow takes up."""
    config = make_classification(tmp_path)
    blush("classify", config, "--quiet", cwd=tmp_path)
    folder = tmp_path / "results/tiny"
    before = digests(folder)
    for name in ("class_posteriors.npz", "run_it002_half1_class002_unfil.mrc", "run_it002_data.star"):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)
        run(snakemake(config))
        assert (folder / f"{name}.damaged-1").exists()
        (folder / f"{name}.damaged-1").unlink()
        assert digests(folder) == before
    assert load_npz(folder / "class_posteriors.npz")["posterior"].shape == (48, 2)


def test_the_command_classify_refuses_a_refinement(make_config):
    said = refused([sys.executable, "-m", "blush", "classify", str(make_config())])
    assert "job: asks for another job (found refine); set job: classify, or use `blush refine`" in said
