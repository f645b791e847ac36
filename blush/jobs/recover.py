"""Before a run goes on: what its next step needs is read and compared with its seal, and lost iterations are undone."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from blush.config import RunConfig
from blush.io.seal import DamagedFile
from blush.jobs import steps
from blush.jobs.body_runs import body_folders, holding, read_bodies, which_are_refined
from blush.jobs.inputs import read_config, read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.mend import mending
from blush.jobs.other_bodies import files_of_others
from blush.jobs.references import fields_of, maps_of, n_references
from blush.jobs.results import SUMMARY, finished_files, halves_kept, is_finished, is_last_table
from blush.jobs.sealed import as_noted, kept
from blush.jobs.settings import frozen_files, take_up
from blush.refine.state import load_state


def make_ready(config: RunConfig) -> None:
    """Make a run's folder fit for a workflow that is about to plan its jobs from what it finds there.

    An import that does not belong to these inputs and settings, or was damaged, is removed while no iteration has
    started, so that its rule makes it; later it is made again here, or refused. Lists of shards go, whose rule looks at
    the shards. Times in the future become now's: Snakemake fails every job that reads a file newer than what it wrote.

    Raises
    ------
    BlushError
        If the folder holds a refinement of other inputs or settings that has started.
    """
    folder = RunFolder(config.run_dir.absolute())
    _settle_times(folder)
    for place in (folder, *body_folders(folder.root)):
        for path in place.root.glob("it[0-9]*/*_shards.json"):
            path.unlink()
    if not take_up(config):
        if not folder.has_started:
            for _, paths in frozen_files(folder, config):
                for path in paths:
                    path.unlink(missing_ok=True)
            return
        steps.import_run(config)
    recover_run(folder.root)
    _unfinish(folder, config)


def _unfinish(folder: RunFolder, config: RunConfig) -> None:
    """Remove the summaries of what is not finished, so that what follows the last iteration is done again."""
    finished = True
    for body, refined in zip(body_folders(folder.root), which_are_refined(config), strict=False):
        if refined and not is_finished(body, read_config(body.root)):
            finished = False
            (body.root / SUMMARY).unlink(missing_ok=True)
    if not finished or not is_finished(folder, config):
        (folder.root / SUMMARY).unlink(missing_ok=True)


def _settle_times(folder: RunFolder) -> None:
    now = time.time()
    for path in (*folder.root.glob("*"), *folder.root.glob("*/*"), *folder.root.glob("body[0-9][0-9][0-9]/*/*")):
        if path.is_file() and path.stat().st_mtime > now:
            os.utime(path)


def recover_run(run: Path) -> None:
    """Make the folder of a run of any job fit to be continued from.

    Bodies look at each other. One that goes back makes its iterations again from what the others were like then, in the
    same bytes, and what followed from them stays; where the others' maps of that time are gone, all go back to the last
    round from which all can go on.
    """
    bodies = body_folders(run)
    for folder in bodies or [RunFolder(run)]:
        recover(folder.root)
    if all(_can_go_on(body) for body in bodies):
        return
    newest = [body.newest() for body in bodies]
    refined = [n for n, one in zip(newest, read_bodies(run), strict=True) if one.refine]
    back = max(0, *refined and [min(refined)])
    while back > 0 and not all(_ready(body, min(back, n)) for body, n in zip(bodies, newest, strict=True)):
        back -= 1
    for body, n in zip(bodies, newest, strict=True):
        if n > back:
            _go_back(body, back + 1, n)


def _can_go_on(body: RunFolder) -> bool:
    """Whether what the next iteration of a body reads of the others is there and good."""
    n = body.newest()
    if n < 0 or not kept(body, body.state(n)):
        return True  # its start makes what is lacking
    state = load_state(body.state(n))
    if state.converged:
        return True
    subsets = read_plan(body.root).subsets
    needed = {path for subset in subsets for path in files_of_others(body, state, subset)}
    return all(kept(holding(body, path), path) for path in sorted(needed))


def recover(run: Path) -> None:
    """Make a run's folder fit to be continued from.

    The states of all iterations and everything that the last one left are checked. What can be made again from files
    beside it is; otherwise the iteration, and those after it, are removed, so that they are made again.
    """
    folder = RunFolder(run)
    newest = folder.newest()
    if newest > 0 and _ended_early(folder, newest):
        _reopen(folder, newest)
    for n in range(newest + 1):
        if not _whole(folder, n, newest):
            _go_back(folder, n, newest)
            return


def _ended_early(folder: RunFolder, n: int) -> bool:
    """Whether iteration n was the last one by a number of iterations that the configuration raised since."""
    if not kept(folder, folder.state(n)):
        return False
    state = load_state(folder.state(n))
    if state.control.JOINS_LAST or state.stop_reason != "max_iterations":
        return False
    return read_config(folder.root).classification.max_iterations > n


def _reopen(folder: RunFolder, n: int) -> None:
    """Remove what made iteration n the last one; its end is made again from its statistics and maps."""
    for path in folder.root.glob(f"run_it{n:03d}_*"):
        if path not in folder.present_references(n):
            path.unlink()
    for name in (SUMMARY, *finished_files(read_config(folder.root))):
        (folder.root / name).unlink(missing_ok=True)
    folder.state(n).unlink()


def _whole(folder: RunFolder, n: int, newest: int) -> bool:
    """Whether an iteration's files are good, after those that can be made again were."""
    run = folder.root
    try:
        if not _as_left(folder, n, newest):
            if n == 0:
                steps.start(run)
            else:
                if not kept(folder, folder.diagnostics(n)):
                    _restore_diagnostics(run, n)
                steps.converge(run, n)
    except DamagedFile:
        return False
    if n < newest or n == 0:
        return _as_left(folder, n, newest)
    state = load_state(folder.state(n))
    if state.converged and not as_noted(folder, run, lambda name: is_last_table(state, name)):
        return False
    needs_sums = state.converged and not state.control.JOINS_LAST and not halves_kept(folder, n, n_references(state))
    if needs_sums and not _summed(folder, n):
        return False
    statistics = [folder.statistics(n, subset) for subset in read_plan(run).subsets]
    maps = maps_of(folder, n, state, final=state.converged)
    return _as_left(folder, n, newest) and kept(folder, *statistics, *maps)


def _as_left(folder: RunFolder, n: int, newest: int) -> bool:
    """Whether what an iteration leaves for good is good, and what the one after the newest reads beside maps."""
    if n == newest == 0:
        return _ready(folder, n)
    lasting = [folder.state(n)] if n == 0 else [folder.state(n), folder.diagnostics(n)]
    if n and kept(folder, folder.state(n)):
        lasting += fields_of(folder, n, load_state(folder.state(n)))
    return kept(folder, *lasting, *(_large(folder, n) if n == newest else []))


def _restore_diagnostics(run: Path, n: int) -> None:
    from blush.jobs.denoise_and_trail import restore_diagnostics

    mending(run, lambda: restore_diagnostics(run, n))


def _large(folder: RunFolder, n: int) -> list[Path]:
    return [folder.poses(n), *([folder.directions(n), folder.spectra(n)] if n else [])]


def _go_back(folder: RunFolder, lost: int, newest: int) -> None:
    """Remove what followed from the lost iteration, back to the last one from which its maps can be made."""
    base = lost
    while base > 0 and not (_summed(folder, base) or _ready(folder, base - 1)):
        base -= 1
    text = f"iteration {lost} of {folder.root} is damaged: iterations {base} to {newest} are made again"
    sys.stderr.write(f"blush: warning: {text}\n")
    folder.log(stage="damaged", iteration=base, fault=text)
    plan = read_plan(folder.root)
    for n in range(newest + 1, base - 1, -1):
        made = [folder.state(n), folder.spectra(n), folder.diagnostics(n), *_large(folder, n)]
        made += [*folder.present_references(n), *folder.iteration(n).glob("occupancy_class*.mrc")]
        if n != base or not _summed(folder, n):
            made += [path for subset in plan.subsets for path in folder.reduced(n, subset, plan.n_folds)]
        for path in made:
            path.unlink(missing_ok=True)


def _summed(folder: RunFolder, n: int) -> bool:
    """Whether all subsets' sums and statistics are good."""
    plan = read_plan(folder.root)
    return kept(folder, *(path for subset in plan.subsets for path in folder.reduced(n, subset, plan.n_folds)))


def _ready(folder: RunFolder, n: int) -> bool:
    """Whether all that the expectation step after iteration n reads is good."""
    if not kept(folder, folder.state(n), *_large(folder, n)):
        return False
    return kept(folder, *maps_of(folder, n, load_state(folder.state(n)), final=False))
