"""The command starts fast and ends mistakes of the user with status 2."""

import errno
import os
import subprocess
import sys
import textwrap

import pytest
import typer
from typer.testing import CliRunner

import blush
from blush.cli import main as command
from blush.errors import BlushError, Problem, condensed, problems_of


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


def test_what_the_system_refuses_is_told_in_one_message(monkeypatch, capsys):
    with pytest.raises(SystemExit) as stop:
        run_failing(monkeypatch, PermissionError(errno.EACCES, "Permission denied", "particles.star"))
    assert stop.value.code == 2
    told = "particles.star: Permission denied; restore the file or disk or its rights, and run the same command again"
    assert capsys.readouterr().err == f"blush: the system does not allow it\n  {told}\n"


def test_every_command_has_its_place_in_the_help():
    known = [command.name_of(info) for info in (*command.app.registered_commands, *command.app.registered_groups)]
    placed = [name for names in command.PANELS.values() for name in names]
    assert sorted(known) == sorted(placed)
    shown = CliRunner().invoke(command.app, ["--help"], env={"COLUMNS": "80"}).stdout
    assert [shown.index(panel) for panel in command.PANELS] == sorted(shown.index(panel) for panel in command.PANELS)
    assert "\x1b" not in shown


@pytest.mark.parametrize("columns", [40, 72, 80])
def test_help_names_every_option_whole_on_a_narrow_terminal(columns):
    """In a process of its own: the width of boxes is fixed when the library is loaded."""
    code = """
        import shutil
        import typer, typer.main
        from typer.testing import CliRunner
        from blush.cli.main import app, fit_help

        def look(command, path):
            shown = CliRunner().invoke(app, [*path, "--help"]).stdout
            options = [name for one in getattr(command, "params", ()) for name in one.opts if name.startswith("--")]
            for name in (*options, *getattr(command, "commands", {})):
                if name not in shown:
                    print(*path, name)
            if "…" in shown:
                print(*path, "is cut short")
            for name, one in getattr(command, "commands", {}).items():
                look(one, [*path, name])

        fit_help(shutil.get_terminal_size().columns)
        look(typer.main.get_command(app), [])
        print("done")
    """
    environment = os.environ | {"COLUMNS": str(columns)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=environment, capture_output=True, text=True
    )
    assert done.stdout == "done\n", done.stdout + done.stderr


def test_the_version_names_the_commit_of_a_clone(monkeypatch, tmp_path):
    def git(*arguments):
        return subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True, text=True).stdout

    (tmp_path / "blush").mkdir()
    monkeypatch.setattr(blush, "__file__", str(tmp_path / "blush" / "__init__.py"))
    plain = f"blush {blush.__version__}"
    assert command.version_text() == plain
    git("init", "-q")
    (tmp_path / "other").write_text("")
    git("add", "other")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    assert command.version_text() == plain  # a folder of packages in a repository of another project
    (tmp_path / "pyproject.toml").write_text("")
    short = git("rev-parse", "--short", "HEAD").strip()
    assert command.version_text() == f"{plain} (commit {short})"
    (tmp_path / "other").write_text("changed")
    assert command.version_text() == f"{plain} (commit {short}, changed)"
    result = CliRunner().invoke(command.app, ["--version"])
    assert result.stdout == f"{plain} (commit {short}, changed)\n"


def test_a_shell_completes_commands_and_options():
    def completed(line):
        environment = {"_BLUSH_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
        program = "from blush.cli.main import app; app(prog_name='blush')"
        return subprocess.run(
            [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True
        ).stdout.split()

    assert completed("blush wa") == ["watch"]
    assert completed("blush run --sl") == ["--slurm"]


def test_bugs_keep_their_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run_failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(FileNotFoundError):
        run_failing(monkeypatch, FileNotFoundError(errno.ENOENT, "No such file", "a"))


def test_a_star_file_alone_is_not_a_run(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["blush", "import", "particles.star"])
    with pytest.raises(SystemExit) as stop:
        command.main()
    assert stop.value.code == 2
    assert "particles.star: a particle table alone is not a run; give the configuration" in capsys.readouterr().err


def test_a_thousand_mistakes_of_one_cause_are_four_lines():
    many = [Problem(f"is truncated: {n} bytes expected", "copy it", f"{n}.mrcs", "header", f"{n}") for n in range(1000)]
    other = Problem("is odd", "crop it", "a.mrc")
    lines = condensed([*many[:500], other, *many[500:]])
    assert lines[:3] == [str(problem) for problem in many[:3]]
    assert lines[3:] == [str(other), f"997 more of this kind, the last of them: {many[-1]}"]
    assert str(BlushError("no", many)).count("\n") == 4


def test_four_mistakes_of_one_cause_and_rows_that_are_summed_up_already_are_told_in_full():
    rows = [Problem("is no number", "correct it", "a.star", f"data_particles row {n}", "x") for n in (1, 2, 3)]
    rest = Problem("is no number", "correct it", "a.star", "data_particles 96 more rows: 4-90, 95-99")
    assert condensed([*rows, rest]) == [str(problem) for problem in (*rows, rest)]
    assert len(condensed([Problem("is odd", file=name) for name in "abcd"])) == 4


def test_an_error_without_mistakes_is_one_itself():
    """Checks that go on after an error would else find nothing wrong."""
    assert problems_of(BlushError("cannot be read"), "mask") == [Problem("cannot be read", where="mask")]
    stated = Problem("is empty", file="map.mrc")
    assert problems_of(BlushError("two", [stated, "and a text"])) == [stated, Problem("and a text")]
