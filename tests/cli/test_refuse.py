"""Other settings for a run that has begun are refused first: nothing is computed, shown or written."""

import hashlib

import pytest
import yaml
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.files import write_json
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import write_identity
from blush.jobs.settings import decisive_settings, run_settings

SETTINGS = {"name": "mine", "particles": "p.star", "reference": "r.mrc", "particle_diameter_angst": 100}


@pytest.mark.parametrize("command", ["refine", "run"])
def test_changed_settings_are_refused_before_anything_is_touched(tmp_path, command):
    config = tmp_path / "my.yaml"
    config.write_text(yaml.safe_dump(SETTINGS))
    settings = run_settings(config)
    folder = RunFolder(settings.run_dir)
    folder.iteration(0).mkdir(parents=True)
    write_json(folder.state(0), {"converged": False})
    write_identity(folder, decisive_settings(settings))
    before = contents(tmp_path / "results")
    config.write_text(yaml.safe_dump(SETTINGS | {"symmetry": "C4"}))
    result = CliRunner().invoke(app, [command, str(config)])
    assert isinstance(result.exception, BlushError)
    said = str(result.exception)
    assert said.splitlines()[0] == "this folder holds a refinement of other settings"
    assert 'symmetry: was "C1", now "C4"; give this refinement another `name`' in said
    assert result.output == ""
    assert contents(tmp_path / "results") == before


def contents(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
