"""Runs by what a user calls them: a configuration, a folder, or nothing, which is the newest run below this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from blush.config.training import holds_training, load_training
from blush.errors import BlushError, Problem
from blush.io.files import read_record
from blush.jobs.body_runs import body_folders
from blush.jobs.layout import RunFolder
from blush.jobs.settings import SETTINGS, run_settings

_DEEPEST = 4
_CONFIGURATIONS = (".yaml", ".yml")


def run_of(named: Path | None) -> Path:
    """The folder of the refinement or classification that a user means.

    Parameters
    ----------
    named
        Configuration, folder of a run, or a folder above runs; None: the working folder.

    Raises
    ------
    BlushError
        If there is no such run, or it is a training.
    """
    run = _named(named)
    if is_training(run):
        remedy = "`blush status` tells its state; its pages are fit/fit.html and evaluation/evaluation.html"
        raise BlushError("no such run", [Problem("is a training, which has no iterations", remedy, str(run))])
    return run


def imported_run(named: Path | None) -> Path:
    """`run_of`, of a run that has something to tell: its particles are imported.

    Raises
    ------
    BlushError
        As `run_of`; or its import has not ended, or failed.
    """
    run = run_of(named)
    if not any(path.is_file() for path in RunFolder(run).imported.glob("*")):  # its folder is made before its files
        fault = "has no results: its particles are not imported, or could not be"
        remedy = "the command that started it, given again, goes on or says what is wrong"
        raise BlushError("nothing to tell yet", [Problem(fault, remedy, str(run))])
    return run


def given(place: Path) -> Path:
    """What a command was given that takes runs and files: for a configuration its run, else the place itself.

    Raises
    ------
    BlushError
        As `imported_run`.
    """
    is_named = place.suffix in _CONFIGURATIONS or (place.is_dir() and is_run(place))
    return imported_run(place) if is_named else place


def configured(named: Path) -> Path:
    """The folder of what a configuration describes, a training too; it may not be there.

    Raises
    ------
    BlushError
        With every mistake of the configuration.
    """
    return load_training(named).run_dir if holds_training(named) else run_settings(named).run_dir


def _named(named: Path | None) -> Path:
    """What `run_of` finds, and trainings that were named."""
    if named is not None and named.suffix in _CONFIGURATIONS:
        run = configured(named)
        if not run.is_dir():
            problem = Problem("has not begun", f"start it: blush run {named}", str(run))
            raise BlushError("no such run", [problem])
        return run
    folder = Path() if named is None else named
    if not folder.is_dir():
        problem = Problem("is not a folder", "give a configuration or the folder of a run", str(named))
        raise BlushError("no such run", [problem])
    if is_run(folder) or (named is not None and (folder / "import").is_dir()):
        return folder
    runs = [run for run in runs_below(folder) if not is_training(run)]
    if not runs:
        remedy = "give a configuration or the folder of a run"
        raise BlushError("no such run", [Problem("holds no run", remedy, str(folder.absolute()))])
    return runs[0]


def runs_below(folder: Path) -> list[Path]:
    """Folders of runs in a folder and below it, those at work last first."""
    return sorted(_found(folder, _DEEPEST), key=last_change, reverse=True)


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, of any job."""
    return (folder / SETTINGS).is_file() and (folder / ".lock").is_file()


def is_training(run: Path) -> bool:
    """Whether a run is a training, by its settings."""
    return (run / SETTINGS).is_file() and "sources" in read_record(run / SETTINGS)


def last_change(run: Path) -> float:
    """When a run was last heard of, in seconds since the epoch."""
    bodies = (body.progress for body in body_folders(run))
    told = (RunFolder(run).progress, *bodies, run / SETTINGS, run / ".lock")
    return max((path.stat().st_mtime for path in told if path.exists()), default=0.0)


def _found(folder: Path, depth: int) -> Iterator[Path]:
    """Runs, without looking into them, hidden folders, links or what may not be read."""
    if is_run(folder):
        yield folder
        return
    if depth == 0:
        return
    try:
        with os.scandir(folder) as entries:
            below = sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except (PermissionError, FileNotFoundError):  # what is removed meanwhile
        return
    for name in below:
        if not name.startswith("."):
            yield from _found(folder / name, depth - 1)
