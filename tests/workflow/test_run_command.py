"""`blush run`: the workflow as it is installed, from any folder, and what it says."""

import os
import shutil
import signal
import subprocess
import sys
import zipfile
from contextlib import suppress

import psutil
import pytest
from workflow_helpers import BIN, ROOT, run, snakemake, until

from blush.cli.run import PROFILES, SNAKEFILE


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Folder of what the wheel of a clone installs, whose newest tag is v7.8.9."""
    folder = tmp_path_factory.mktemp("wheel")
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    tracked = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        source, target = ROOT / name, folder / "tree" / name
        if (source.exists() or source.is_symlink()) and not name.startswith(("tests/", "docs/", "benchmarks/")):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    git = ["git", "-C", str(folder / "tree"), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "all"], ["tag", "v7.8.9"]):
        run([*git, *arguments])
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder]
    run([*map(str, command), str(folder / "tree")])
    [wheel] = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_rules_and_profiles_of_the_clone(installed):
    for room in ("workflow", "profiles"):
        mine = {path.relative_to(ROOT): path.read_bytes() for path in (ROOT / room).rglob("*") if path.is_file()}
        there = {path.relative_to(installed / "blush"): path for path in (installed / "blush" / room).rglob("*")}
        assert {name: path.read_bytes() for name, path in there.items() if path.is_file()} == mine
        assert len(mine) >= 2


def test_the_wheel_holds_every_file_that_is_no_code(installed):
    tracked = subprocess.run(["git", "ls-files", "blush"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    data = [name for name in tracked.split() if not name.endswith(".py") and (ROOT / name).is_file()]
    assert {"blush/py.typed", "blush/denoise/data/w8d4.md", "blush/report/data/3Dmol.LICENSE.txt"} <= set(data)
    assert {name for name in data if not (installed / name).is_file()} == set()
    held = {path.name for path in (installed / "blush_cryoem-7.8.9.dist-info").rglob("*")}
    assert {"LICENSE", "3Dmol.LICENSE.txt", "entry_points.txt"} <= held


def test_the_version_is_that_of_the_newest_tag(installed):
    told = subprocess.run(
        [sys.executable, "-m", "blush", "--version"],
        cwd=installed, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert told == "blush 7.8.9\n"


def test_a_copy_without_a_repository_has_the_version_of_the_citation(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    found = subprocess.run(
        [sys.executable, "-m", "setuptools_scm"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    assert f"version: {found}" in (ROOT / "CITATION.cff").read_text()


def test_what_is_installed_runs_from_any_folder(installed, make_config, tmp_path):
    config = make_config()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = [sys.executable, "-m", "blush", "run", str(config), "--", "--dry-run"]
    done = subprocess.run(
        command, cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(installed)}, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert f"Using profile {installed}/blush/profiles/local" in said
    assert "import_particles" in said
    assert f"{config.parent}/results/tiny/import/plan.npz" in said


def test_rules_and_profiles_are_those_of_the_clone():
    assert SNAKEFILE.resolve() == ROOT / "workflow" / "Snakefile"
    assert PROFILES.resolve() == ROOT / "profiles"


def test_it_begins_with_how_to_follow_and_ends_with_what_was_found(run_from_its_folder):
    _, folder, said = run_from_its_folder
    *_, resolution, best_map, page, ending = said[: said.index("blush: follow")].splitlines()  # stdout, then stderr
    assert resolution.startswith("resolution  ")
    assert resolution.endswith(" Å, 48 particles, 3 iterations")
    assert ending.startswith("not converged: stopped after 3 iterations; raise refinement.max_iterations")
    assert best_map.split() == ["map", "results/tiny/postprocess/postprocess.mrc"]
    assert page.split() == ["page", "results/tiny/report.html"]
    assert (folder / "report.html").is_file()
    assert "follow this run from another terminal: blush watch results/tiny\n" in said


def test_a_finished_run_that_is_run_again_says_what_it_found(run_from_its_folder):
    config, _, said = run_from_its_folder
    again = run([str(BIN / "blush"), "run", config.name], config.parent)
    ending = said[: said.index("blush: follow")].splitlines()[-4:]
    assert again[: again.index("blush: follow")].splitlines()[-4:] == ending
    assert "Nothing to be done" not in again


def test_in_a_pipe_it_says_a_line_per_iteration_and_none_of_snakemakes(run_from_its_folder):
    _, _, said = run_from_its_folder
    assert [line[:6] for line in said.splitlines() if " Å  global " in line] == ["it 001", "it 002", "it 003"]
    assert "\x1b" not in said
    assert "\r" not in said
    assert "rule " not in said
    assert len(said.splitlines()) < 20


def test_a_step_that_fails_is_told_with_the_end_of_its_log(make_config, tmp_path):
    (tmp_path / "empty.star").write_text("")
    config = make_config(particles=str(tmp_path / "empty.star"))
    command = [sys.executable, "-m", "blush", "run", str(config)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "blush: the step import_particles failed; the end of " in done.stderr
    assert "empty.star" in done.stderr
    assert "the same command continues this run" in done.stderr
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_mistakes_are_told_before_snakemake_starts(make_config, tmp_path):
    command = [sys.executable, "-m", "blush", "run", str(make_config(symmetry="X9"))]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "symmetry: no such point group" in done.stderr
    assert "profile" not in done.stderr
    assert not (tmp_path / ".snakemake").exists()


IN_A_COROUTINE = """
import asyncio, pathlib, sys, time

if "snakemake" in sys.orig_argv:
    run = asyncio.Runner.run
    log = pathlib.Path("{log}")

    async def held(work):
        if log.exists() and not log.with_suffix(".held").exists():
            log.with_suffix(".held").touch()
            time.sleep(2)
        return await work

    asyncio.Runner.run = lambda runner, work, **options: run(runner, held(work), **options)
"""
"""Python's own hook at its start: Snakemake stays for a while in the first of its coroutines after there is a log."""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["in the group", "steps first", "in a coroutine"])
@pytest.mark.parametrize("by", ["blush", "snakemake"])
def test_ctrl_c_is_no_error_of_a_rule(make_config, tmp_path, by, where):
    """As a terminal sends it, to Snakemake and to the steps that it runs, of which some may take notice before it."""
    config = make_config()
    log = tmp_path / "results/tiny/logs/it001_expectation_half1.log"
    awaited = log
    if where == "in a coroutine":
        (tmp_path / "hook").mkdir()
        (tmp_path / "hook/sitecustomize.py").write_text(IN_A_COROUTINE.format(log=log))
        awaited = log.with_suffix(".held")
    command = [sys.executable, "-m", "blush", "run", str(config)] if by == "blush" else snakemake(config)
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "hook")},
    ) as process:  # fmt: skip
        until(awaited.exists)
        if where == "steps first":
            for step in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):  # Snakemake's solver lives for a moment
                    step.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGINT)
        else:
            os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 1, said
    assert said.splitlines()[-1].startswith("blush: stopped; the same command continues this run; logs: ")
    for word in ("Error", "Exception", "Traceback", "failed"):
        assert word not in said
