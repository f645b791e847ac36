"""Damaged files of a run made again by the step that made them, from its own inputs, in the same bytes.

Only what is cheap is made again in passing. Where a whole expectation step would have to be repeated, the step ends
with a message; the command that refines the run, given again, goes back to the last iteration that is whole
(`blush.jobs.recover`).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from blush.errors import BlushError, Problem
from blush.io.seal import DamagedFile, LostParts
from blush.jobs.body_runs import holding, whole_of
from blush.jobs.job_steps import step_of
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import kept
from blush.refine.subset import Subset

Result = TypeVar("Result")
Maker = Callable[[], Any]
GO_BACK = "the command that refines this run, given again, goes back to the last iteration that is whole"


def mending(run: Path, step: Callable[[], Result]) -> Result:
    """Do a step; damaged or missing files that it meets are set aside, made again, and the step is done again.

    Raises
    ------
    DamagedFile
        If a file cannot be made again from those beside it, or is damaged twice.
    BlushError
        If there is no such folder.
    """
    if not run.is_dir():
        problem = Problem("is not a folder", "give the folder output/name of a run that was imported", str(run))
        raise BlushError("not an imported run", [problem])
    return _mending(RunFolder(run), step, set())


def _mending(folder: RunFolder, step: Callable[[], Result], tried: set[Path]) -> Result:
    """`mending`, with the files that were met on the way here: a second damage of any of them ends it."""
    while True:
        try:
            return step()
        except LostParts:
            raise
        except DamagedFile as damage:
            if damage.path in tried:
                raise
            tried.add(damage.path)
            home = holding(folder, damage.path)  # of one of several bodies, which read each other's
            if not kept(home, damage.path):  # else another process made it again meanwhile
                _make_again(home, damage, tried)


def _make_again(folder: RunFolder, damage: DamagedFile, tried: set[Path]) -> None:
    name = str(damage.path.relative_to(folder.root))
    sys.stderr.write(f"blush: warning: {name} {damage.fault}: it is made again\n")
    try:
        _mending(folder, _maker(folder, name), tried)
    except DamagedFile as deeper:
        fault = f"{damage.fault}, and cannot be made again alone"
        if deeper.path != damage.path:
            fault += f": {deeper.path.name} {deeper.fault}"
        raise DamagedFile(damage.path, fault, GO_BACK) from deeper


def _maker(folder: RunFolder, name: str) -> Maker:
    """The step that makes a file, by the file's name in the run's folder."""
    run = folder.root
    for pattern, make in _MAKERS.items():
        if found := re.fullmatch(pattern, name):
            return lambda: make(run, *(_argument(group) for group in found.groups()))
    raise ValueError(f"no step makes {name}")


def _argument(text: str) -> int:
    """A number, or the subset of a name."""
    return int(text) if text.isdecimal() else Subset.named(text)


def _import(run: Path) -> None:
    from blush.jobs.importing import import_run
    from blush.jobs.settings import SETTINGS, run_settings

    import_run(run_settings(whole_of(run) / SETTINGS))


def _start(run: Path) -> None:
    step_of(run, "start")(run)


def _expectation(run: Path, iteration: int, subset: Subset, shard: int) -> None:
    from blush.jobs.expect import expectation_shard

    expectation_shard(run, iteration, subset, shard)


def _reduce(run: Path, iteration: int, subset: Subset) -> None:
    from blush.jobs.reduce import reduce_subset

    reduce_subset(run, iteration, subset)


def _denoise(run: Path, iteration: int) -> None:
    step_of(run, "maps")(run, iteration)


def _diagnostics(run: Path, iteration: int) -> None:
    from blush.jobs.denoise_and_trail import restore_diagnostics

    restore_diagnostics(run, iteration)


def _last_maps(run: Path) -> None:
    folder = RunFolder(run)
    spectra = sorted(folder.root.glob("it[0-9]*/maps.npz"))
    _denoise(run, int(spectra[-1].parent.name[2:]))


def _converge(run: Path, iteration: int) -> None:
    step_of(run, "converge")(run, iteration)


_SUBSET = "half[12]|all"
_MAKERS: dict[str, Callable[..., None]] = {
    r"\.identity\.json|import/.+": _import,
    r"it000/.+|run_it000_.+": _start,
    rf"it(\d+)/({_SUBSET})_shard(\d+)_.+": _expectation,
    rf"it(\d+)/({_SUBSET})_(?:sums(?:_fold\d+)?|statistics)\.npz": _reduce,
    r"it(\d+)/maps\.json": _diagnostics,
    r"it(\d+)/(?:occupancy_class\d+|confirmed)\.mrc": _denoise,
    r"it(\d+)/maps\.npz": _denoise,
    r"run_it(\d+)(?:_half[12])?_class\d+\.mrc": _denoise,
    r"it(\d+)/(?:half[12]_)?without\d+_class\d+\.mrc": _denoise,
    r"run_(?:half[12]_)?class\d+(?:_unfil)?\.mrc": _last_maps,
    r"it(\d+)/(?:state\.json|poses\.npz|directions\.npz)": _converge,
}
