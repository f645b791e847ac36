"""A run is found by its configuration, its folder, or as the newest below the working folder."""

import os

import pytest
import yaml
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.jobs.runs import configured, given, imported_run, is_run, last_change, run_of, runs_below


def make_run(folder, changed):
    """A folder as a run leaves it at its start, dated."""
    folder.mkdir(parents=True)
    for name in ("settings.json", ".lock", "progress.jsonl"):
        (folder / name).write_text("{}")
        os.utime(folder / name, (changed, changed))
    return folder


@pytest.fixture
def two_runs(tmp_path, monkeypatch):
    """An older and a newer run below the working folder, and one that lies too deep."""
    older = make_run(tmp_path / "results" / "a", 1000)
    newer = make_run(tmp_path / "other" / "set" / "results" / "b", 2000)
    make_run(tmp_path / "1/2/3/4/5", 3000)
    make_run(tmp_path / ".hidden", 4000)
    make_run(newer / "inside", 5000)
    monkeypatch.chdir(tmp_path)
    return older, newer


def test_without_a_name_the_newest_is_meant(two_runs, tmp_path):
    older, newer = two_runs
    assert [path.resolve() for path in runs_below(tmp_path)] == [newer, older]
    assert run_of(None).resolve() == newer
    os.utime(older / "progress.jsonl", (6000, 6000))
    assert last_change(older) == 6000
    assert run_of(None).resolve() == older


def test_a_folder_is_its_own_run_or_above_one(two_runs, monkeypatch):
    older, newer = two_runs
    assert run_of(older) == older
    assert run_of(older.parent) == older
    monkeypatch.chdir(newer)
    assert run_of(None).resolve() == newer


def test_a_configuration_names_its_run(two_runs, tmp_path):
    settings = {"name": "a", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 100}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    assert run_of(tmp_path / "mine.yaml") == two_runs[0]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings | {"name": "new"}))
    with pytest.raises(BlushError, match=r"results/new: has not begun; start it: blush run .*mine\.yaml"):
        run_of(tmp_path / "mine.yaml")


def test_a_run_that_ended_before_its_import_has_nothing_to_tell(two_runs, tmp_path):
    older = two_runs[0]
    settings = {"name": "a", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 100}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(settings))
    (older / "import").mkdir()
    for place in (older, tmp_path / "mine.yaml"):
        for found in (given, imported_run):
            with pytest.raises(BlushError, match=r"results/a: has no results: .*; the command that started it, given"):
                found(place)
    (older / "import/particles.npz").touch()
    assert given(tmp_path / "mine.yaml") == imported_run(tmp_path / "mine.yaml") == older
    assert given(tmp_path / "particles.star") == tmp_path / "particles.star"
    assert given(tmp_path) == tmp_path  # of another program, as RELION's Class3D


@pytest.mark.parametrize(
    "command",
    ["report", "evidence", "reslog", "orientation", "postprocess", "export-cs", "select --classes 1", "motions",
     "classes verify", "helix-evidence", "subtract --mask mask.mrc --output out"],
)  # fmt: skip
def test_every_command_of_a_result_says_that_there_is_none(two_runs, command):
    told = CliRunner().invoke(app, [*command.split(), str(two_runs[0])])
    assert isinstance(told.exception, BlushError)
    assert "has no results: its particles are not imported" in str(told.exception)


def test_a_training_is_no_run_to_follow(two_runs, tmp_path):
    training = make_run(tmp_path / "training" / "net", 9000)
    (training / "settings.json").write_text('{"sources": {}}')
    assert runs_below(tmp_path)[0].resolve() == training
    assert run_of(None).resolve() == two_runs[1]
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"name": "net", "sources": {"simulated": {"models": "m"}}}))
    for named in (training, tmp_path / "train.yaml"):
        with pytest.raises(BlushError, match="net: is a training, which has no iterations"):
            run_of(named)
    assert configured(tmp_path / "train.yaml") == training


def test_where_there_is_none_it_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BlushError, match=f"{tmp_path}: holds no run; give a configuration"):
        run_of(None)
    with pytest.raises(BlushError, match="nowhere: is not a folder"):
        run_of(tmp_path / "nowhere")
    assert not is_run(tmp_path)
