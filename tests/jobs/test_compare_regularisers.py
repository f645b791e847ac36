"""The same particles with several regularisers: planned as a whole, on one pool, resumable, each an ordinary run."""

import json
import shutil
import subprocess
import sys

import pytest
import yaml
from typer.testing import CliRunner

from blush.cli.compare_regularisers import spelled_out
from blush.cli.main import app
from blush.cluster.resident import announced
from blush.config import load_config
from blush.errors import BlushError
from blush.io.files import read_json
from blush.jobs import compare_regularisers, steps
from blush.jobs.autorefine import autorefine
from blush.jobs.compare_regularisers import (
    import_members,
    is_finished,
    plan_comparison,
    refine_member,
    shared_pool,
)
from blush.jobs.layout import RunFolder
from blush.jobs.settings import run_settings
from blush.refine.subset import Subset

LAST = 2


def silent(_: str) -> None:
    """Nobody is told."""


@pytest.fixture
def write_config(make_config, simulated):
    """A configuration file of a short refinement, with changes by section."""

    def write(folder, **changes):
        content = json.loads(make_config(folder / "results").model_dump_json())
        content["refinement"]["max_iterations"] = LAST
        content["compute"]["workers"] = 1
        content["truth"] = {
            "particles": str(simulated / "truth.star"),
            "map": str(simulated / "true_map.mrc"),
            "mask": str(simulated / "mask.mrc"),
        }
        for section, values in changes.items():
            content[section] = content[section] | values if isinstance(values, dict) else values
        path = folder / "my.yaml"
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture(scope="module")
def module_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture
def compared(module_folder, write_config):
    """A finished comparison by the command, made once; its folder and what the command said."""
    said = module_folder / "said.txt"
    if not said.exists():
        said.write_text(command(write_config(module_folder)))
    return module_folder / "results/tiny_comparison", said.read_text()


def command(config):
    """The command in a process of its own, whose locks end with it; gives what it said."""
    arguments = ["compare-regularisers", str(config), "--regularisers", "wiener", "lowpass", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "blush", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def in_this_process(config):
    arguments = ["compare-regularisers", str(config), "--regularisers", "wiener", "lowpass", "--quiet"]
    return CliRunner().invoke(app, arguments)


def test_options_take_several_values():
    given = ["my.yaml", "--regularisers", "wiener", "none", "--seeds", "1", "2", "--quiet", "--seeds=3"]
    assert spelled_out(given, ("--regularisers", "--seeds")) == [
        "my.yaml", "--regularisers", "wiener", "--regularisers", "none", "--seeds", "1", "--seeds", "2",
        "--quiet", "--seeds=3",
    ]  # fmt: skip


def test_members_differ_in_name_regulariser_and_seed_alone(write_config, tmp_path):
    path = write_config(tmp_path)
    comparison = plan_comparison(path, ["wiener", "none", "wiener"], [3, 4])
    assert comparison.folder == tmp_path / "results/tiny_comparison"
    assert [m.name for m in comparison.members] == ["wiener_seed3", "none_seed3", "wiener_seed4", "none_seed4"]
    plain = load_config(path).model_dump(mode="json")
    for member in comparison.members:
        config = member.config.model_dump(mode="json")
        assert config["regulariser"]["name"] == member.regulariser
        assert config["seed"] == member.seed
        different = {key for key in plain if plain[key] != config[key]}
        assert different <= {"name", "output", "regulariser", "seed"}


def test_without_seeds_that_of_the_file_is_used(write_config, tmp_path):
    assert [m.seed for m in plan_comparison(write_config(tmp_path, seed=7), ["wiener"]).members] == [7]


def test_mistakes_about_every_member_are_told_before_anything_is_written(write_config, tmp_path):
    path = write_config(tmp_path)
    with pytest.raises(BlushError) as caught:
        plan_comparison(path, ["wiener", "cref", "blsh", "external"])
    said = str(caught.value)
    assert "has 3 mistake(s), and nothing was started" in said
    for mistake in ("cref: regulariser: name: cref needs regulariser.cref.weights", "blsh: there is no such",
                    "external: regulariser: name: external needs regulariser.external.command"):  # fmt: skip
        assert mistake in said
    assert not (tmp_path / "results").exists()


def test_a_mistake_of_the_whole_file_is_told_once(write_config, tmp_path):
    with pytest.raises(BlushError) as caught:
        plan_comparison(write_config(tmp_path, symmetry="X9"), ["wiener", "none", "lowpass"])
    assert str(caught.value).count("no such point group") == 1
    assert "wiener" not in str(caught.value)


def test_no_regularisers_are_no_comparison(write_config, tmp_path):
    with pytest.raises(BlushError, match="no regularisers are given"):
        plan_comparison(write_config(tmp_path), [])


def test_settings_of_one_regulariser_do_not_disturb_runs_of_another(write_config, compared, module_folder):
    """One lower cut-off is tried for lowpass; the Wiener run stays what it is, and that of lowpass is refused."""
    changed = write_config(module_folder, regulariser={"lowpass": {"resolution_angst": 30.0}})
    assert is_finished(plan_comparison(changed, ["wiener"]).members[0])
    with pytest.raises(BlushError, match=r"lowpass_seed1: .*regulariser: was"):
        plan_comparison(changed, ["wiener", "lowpass"])


def test_the_command_leaves_runs_table_json_and_page(compared):
    folder, said = compared
    assert "Best by true resolution" in said
    assert said.splitlines()[0].split()[:2] == ["Regulariser", "Seeds"]
    content = read_json(folder / "comparison.json")
    assert set(content["members"]) == {"wiener_seed1", "lowpass_seed1"}
    assert content["failures"] == {}
    page = (folder / "comparison.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    for name in content["members"]:
        for file in ("run_class001.mrc", "summary.json", "report.html", "run_data.star"):
            assert (folder / name / file).exists()


def test_all_runs_share_one_pool_which_is_gone_at_the_end(compared):
    folder, _ = compared
    assert (folder / ".pool/pool.log").read_text().count("Scheduler at:") == 1
    assert announced(folder / ".pool") is None
    assert not list(folder.glob("*_seed*/.pool"))


def test_a_member_is_the_run_that_refine_makes(compared, tmp_path):
    """Same bytes, and `blush refine` continues one by its settings.json."""
    folder, _ = compared
    config = run_settings(folder / "lowpass_seed1/settings.json")
    assert config.run_dir == folder / "lowpass_seed1"
    alone = autorefine(config.model_copy(update={"output": tmp_path}))
    for file in ("run_class001.mrc", "run_half1_class001_unfil.mrc", "it002/poses.npz", "it002/maps.json"):
        assert (alone / file).read_bytes() == (folder / "lowpass_seed1" / file).read_bytes()


def test_finished_runs_are_not_repeated(compared, write_config, module_folder):
    folder, said = compared
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*_seed1/it*/*")}
    logged = (folder / ".pool/pool.log").read_text()
    again = command(write_config(module_folder))
    assert again == said
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*_seed1/it*/*")} == before
    assert (folder / ".pool/pool.log").read_text() == logged  # no worker was needed


def test_an_interrupted_member_goes_on_to_the_same_bytes(compared, write_config, module_folder, tmp_path):
    folder, _ = compared
    copy = tmp_path / "results/tiny_comparison"
    shutil.copytree(folder, copy)
    run = RunFolder(copy / "lowpass_seed1")
    for path in (
        run.state(LAST),
        run.spectra(LAST),
        run.map(None, Subset.ALL, "final"),
        copy / "lowpass_seed1/summary.json",
    ):
        path.unlink()
    comparison = plan_comparison(write_config(tmp_path), ["wiener", "lowpass"])
    wiener, lowpass = comparison.members
    import_members(comparison)
    assert (is_finished(wiener), is_finished(lowpass)) == (True, False)
    with shared_pool(comparison) as pool:
        refine_member(lowpass, pool, silent)
    assert is_finished(lowpass)
    assert run.map(None, Subset.ALL, "final").read_bytes() == (folder / "lowpass_seed1/run_class001.mrc").read_bytes()


def test_other_postprocessing_is_done_again_and_nothing_else(compared, write_config, tmp_path):
    folder, _ = compared
    shutil.copytree(folder, tmp_path / "results/tiny_comparison")
    path = write_config(tmp_path, postprocess={"adhoc_bfactor_angst2": -20.0})
    comparison = plan_comparison(path, ["wiener"])
    [member] = comparison.members
    import_members(comparison)
    assert not is_finished(member)
    assert steps.latest_state(member.run).converged


def test_where_standing_pools_are_forbidden_the_shared_one_belongs_to_this_process(
    compared, write_config, tmp_path, monkeypatch
):
    """`pool: inline`: one pool all the same, owned, and the results are those of any other pool."""
    asked = []
    real = compare_regularisers.pooled.run_tasks

    def watched(folder, compute, tasks, notify, *, owned=False):
        asked.append((folder, compute["pool"], owned))
        return real(folder, compute, tasks, notify, owned=owned)

    monkeypatch.setattr(compare_regularisers.pooled, "run_tasks", watched)
    done = in_this_process(write_config(tmp_path, compute={"pool": "inline"}))
    assert done.exit_code == 0, done.output
    folder = tmp_path / "results/tiny_comparison"
    assert set(asked) == {(folder / ".pool", "local", True)}
    assert announced(folder / ".pool") is None
    one, two = (read_json(place / "comparison.json") for place in (compared[0], folder))
    for content in (one, two):
        del content["timing"]
    assert one == two


def test_a_member_that_fails_does_not_keep_the_others_from_theirs(compared, write_config, tmp_path, monkeypatch):
    folder, _ = compared
    shutil.copytree(folder, tmp_path / "results/tiny_comparison")
    lowpass = tmp_path / "results/tiny_comparison/lowpass_seed1"
    (lowpass / "summary.json").unlink()

    def fails(member, pool, notify):
        raise BlushError("the network is too small")

    monkeypatch.setattr(compare_regularisers, "refine_member", fails)
    result = in_this_process(write_config(tmp_path))
    assert isinstance(result.exception, BlushError)
    assert "lowpass_seed1: the network is too small" in str(result.exception)
    content = read_json(tmp_path / "results/tiny_comparison/comparison.json")
    assert set(content["members"]) == {"wiener_seed1"}
    assert "too small" in content["failures"]["lowpass_seed1"]
    assert "did not finish" in (tmp_path / "results/tiny_comparison/comparison.html").read_text()


HOLD = """
import sys
from pathlib import Path
from blush.cluster.lock import hold_run
hold_run(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_two_comparisons_at_once_are_refused(compared, write_config, module_folder):
    folder, _ = compared
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], **pipes)
    try:
        assert holder.stdout.readline() == "held\n"
        result = in_this_process(write_config(module_folder))
        assert "running already" in str(result.exception)
    finally:
        holder.communicate()
