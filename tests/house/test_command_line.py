"""The command starts fast and ends mistakes of the user with status 2."""

import subprocess
import sys

import pytest
import typer

from blush.cli import main as command
from blush.errors import BlushError, Problem


def test_help_loads_no_heavy_library():
    heavy = {"torch", "numpy", "scipy", "pandas", "matplotlib", "distributed", "dask"}
    code = f"import sys, blush.cli.main; print(sorted({heavy!r} & sys.modules.keys()))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"


def run_failing(monkeypatch, error):
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def fail() -> None:
        raise error

    monkeypatch.setattr(command, "app", app)
    monkeypatch.setattr("sys.argv", ["blush"])
    command.main()


def test_mistakes_of_the_user_end_with_status_2_and_no_traceback(monkeypatch, capsys):
    problems = [Problem("is odd", "crop it", "a.mrc", "header", "33 px"), "and a plain line"]
    with pytest.raises(SystemExit) as stop:
        run_failing(monkeypatch, BlushError("2 mistakes:", problems))
    assert stop.value.code == 2
    assert capsys.readouterr().err == (
        "blush: 2 mistakes:\n  a.mrc, header: is odd (found 33 px); crop it\n  and a plain line\n"
    )


def test_bugs_keep_their_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run_failing(monkeypatch, ZeroDivisionError())


def test_a_star_file_alone_is_not_a_run(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["blush", "import", "particles.star"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "particles.star: a STAR file alone is not a run; give the configuration" in capsys.readouterr().err
