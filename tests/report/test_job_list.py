"""What ran here, in every state."""

import json
import shutil
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.files import write_json

DEAD = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True).stdout


def held_by(run, pid, host=None):
    """Let a run's lock name a process; without a host one of this machine."""
    from socket import gethostname

    (run / ".lock").write_text(f"process {int(pid)} on {host or gethostname()}\n")


def listed(folder):
    result = CliRunner().invoke(app, ["status", str(folder)])
    assert result.exit_code == 0, result.exception
    head, *rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert head == ["run", "job", "state", "iteration", "resolution", "changed"]
    return {row[0].rsplit("/", 1)[-1]: row[1:5] for row in rows}


@pytest.fixture
def results(finished_run, running, tmp_path):
    """A finished run and one at work, side by side."""
    for name, source in (("done", finished_run), ("begun", running)):
        shutil.copytree(source, tmp_path / "results" / name)
        write_json(tmp_path / "results" / name / "settings.json", {"job": "refine"})
        held_by(tmp_path / "results" / name, DEAD)
    return tmp_path / "results"


def test_a_finished_run_has_the_resolution_of_its_summary(results):
    path = results / "done/summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"resolution_angst": 7.08}))
    assert listed(results)["done"] == ["refine", "finished", "3", "7.08 Å"]


def test_one_that_has_not_converged_says_so(results):
    path = results / "done/it003/state.json"
    state = json.loads(path.read_text())
    write_json(path, state | {"stop_reason": "max_iterations"})
    assert listed(results)["done"][1] == "not converged"


def test_running_dead_or_on_another_machine(results):
    import os

    assert listed(results)["begun"][:3] == ["refine", "dead", "1"]
    held_by(results / "begun", os.getpid())
    os.utime(results / "begun/.lock")
    assert listed(results)["begun"][1] == "running"
    held_by(results / "begun", 1, "node7")
    assert listed(results)["begun"][1] == "on node7"


def test_a_run_that_cannot_be_read_does_not_hide_the_others(results):
    (results / "begun/it001/state.json").write_text("{")
    found = listed(results)
    assert found["begun"][1].startswith("cannot be read: ")
    assert "state.json" in found["begun"][1]
    assert found["done"][1] == "finished"


def test_a_training_is_listed(tmp_path):
    run = tmp_path / "training/net"
    run.mkdir(parents=True)
    write_json(run / "settings.json", {"sources": {}})
    held_by(run, DEAD)
    assert listed(tmp_path)["net"] == ["train", "dead", "", ""]
    (run / "export").mkdir()
    (run / "export/manifest.json").write_text("{}")
    assert listed(tmp_path)["net"] == ["train", "finished", "", ""]


def test_where_nothing_ran_it_is_said(tmp_path):
    result = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert isinstance(result.exception, BlushError)
    assert "holds no run" in str(result.exception)


def test_of_a_configuration_that_has_not_begun_it_is_said(tmp_path):
    settings = {"name": "new", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 100}
    (tmp_path / "my.yaml").write_text(json.dumps(settings))
    result = CliRunner().invoke(app, ["status", str(tmp_path / "my.yaml")])
    assert isinstance(result.exception, BlushError)
    assert f"{tmp_path}/results/new: holds no run" in str(result.exception)


def test_watch_ends_with_the_process_of_the_run(results):
    """At once, and with a status of its own: nobody would write anything any more."""
    result = CliRunner().invoke(app, ["watch", str(results / "begun")])
    assert result.exit_code == 1
    assert f"dead: process {DEAD.strip()} on " in result.stdout
    assert "the same command continues the run" in result.stdout


def test_a_certificate_that_fails_is_named(results):
    path = results / "done/it002/maps.json"
    record = json.loads(path.read_text())
    record["regulariser"]["certificate"] = {"verdict": "fails", "words": ["its squared error is 2"]}
    write_json(path, record)
    assert listed(results)["done"][1] == "finished, certificate fails in iteration 2"
