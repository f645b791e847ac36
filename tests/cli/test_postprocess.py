"""`blush postprocess RUN` measures with the settings of the run: what it would ignore is refused."""

import pytest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--mask", "mask.mrc"], "--mask: a run folder"), (["--out", "there", "--locres"], "--locres, --out: a run")],
)
def test_options_beside_a_run_folder_are_refused(options, named, tmp_path):
    told = CliRunner().invoke(app, ["postprocess", str(tmp_path), *options])
    assert isinstance(told.exception, BlushError)
    assert named in str(told.exception)
    assert "--half1 and --half2" in str(told.exception)


def test_a_run_folder_alone_is_looked_into(tmp_path):
    told = CliRunner().invoke(app, ["postprocess", str(tmp_path)])
    assert isinstance(told.exception, BlushError)
    assert "run folder is measured" not in str(told.exception)
