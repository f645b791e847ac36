"""The commands, as a user types them."""

import subprocess
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.mrc import write_volume


@pytest.fixture
def run_command():
    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def halves(finished_run):
    return [finished_run / f"run_half{half}_class001_unfil.mrc" for half in (1, 2)]


def test_postprocess_writes_its_folder_and_says_the_resolution(run_command, halves, tmp_path):
    result = run_command("postprocess", "--half1", halves[0], "--half2", halves[1], "--diameter", 45,
                         "--out", tmp_path / "pp", "--bfactor", -50, "--locres")  # fmt: skip
    assert "B-factor -50.0 Å²" in result.stdout
    assert "local resolution" in result.stdout
    names = {"postprocess.mrc", "postprocess.star", "postprocess_masked.mrc", "mask.mrc", "fsc.xml", "locres.mrc",
             "locres_filtered.mrc"}  # fmt: skip
    assert {path.name for path in (tmp_path / "pp").iterdir()} == names


def test_postprocess_needs_both_halves(run_command, halves):
    with pytest.raises(BlushError, match="two half-maps are needed"):
        run_command("postprocess", "--half1", halves[0])


def test_fsc_prints_every_shell_and_the_resolution(run_command, halves, finished_run, tmp_path):
    mask = finished_run / "postprocess/mask.mrc"
    result = run_command("fsc", *halves, "--mask", mask, "--xml", tmp_path / "fsc.xml")
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["shell", "resolution", "unmasked", "masked", "randomised", "corrected"]
    assert sum(line.split()[0].isdigit() for line in lines) == 12
    assert any(line.startswith("corrected: FSC 0.143 at") for line in lines)
    assert (tmp_path / "fsc.xml").read_text().count("<coordinate>") == 12


def test_fsc_with_the_truth_uses_one_half(run_command, halves):
    result = run_command("fsc", halves[0], halves[0], "--truth")
    assert "unmasked: FSC 0.500 at 6.00 Å" in result.stdout


def test_fsc_of_unrelated_maps_is_not_a_resolution(run_command, tmp_path):
    random = np.random.default_rng(1)
    for name in ("a.mrc", "b.mrc"):
        write_volume(tmp_path / name, random.normal(size=(16, 16, 16)).astype(np.float32), 2.0)
    assert "not resolved" in run_command("fsc", tmp_path / "a.mrc", tmp_path / "b.mrc", "--truth").stdout


def test_report_prints_where_it_wrote(run_command, finished_run):
    assert run_command("report", finished_run).stdout.strip() == str(finished_run / "report.html")


def test_watch_once_shows_every_iteration_and_ends(run_command, finished_run):
    lines = run_command("watch", finished_run, "--once").stdout.splitlines()
    assert [line[:6] for line in lines[:3]] == ["it 001", "it 002", "it 003"]
    assert lines[3:] == [
        "finished after iteration 3",
        "warning: look <here>",
        "resolution  7.50 Å, 40 particles, 3 iterations",
        f"map         {finished_run}/postprocess/postprocess.mrc",
        f"page        {finished_run}/report.html",
    ]


def test_watch_ends_by_itself_when_the_run_is_done(run_command, finished_run):
    assert "finished" in run_command("watch", finished_run, "--interval", 0.05).stdout


@pytest.mark.parametrize("command", [("watch", "--once"), ("report",)])
def test_watching_and_reporting_need_no_torch(finished_run, command):
    """Both run beside a refinement, on a login node."""
    program = "import sys; from blush.cli.main import app; app(sys.argv[1:], standalone_mode=False)"
    check = "; assert 'torch' not in sys.modules, 'torch was imported'"
    arguments = [command[0], str(finished_run), *command[1:]]
    done = subprocess.run([sys.executable, "-c", program + check, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
