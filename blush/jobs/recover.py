"""Before a run goes on: what its next step needs is read and compared with its seal, and lost iterations are undone."""

from __future__ import annotations

import sys
from pathlib import Path

from blush.io.seal import DamagedFile
from blush.jobs.layout import RunFolder
from blush.jobs.mend import mending
from blush.jobs.sealed import kept
from blush.refine.state import load_state
from blush.refine.subset import Subset

TABLES = ("run_data.star", "run_model.star")


def recover(run: Path) -> None:
    """Make a run's folder fit to be continued from.

    The states of all iterations and everything that the last one left are checked. What can be made again from files
    beside it is; otherwise the iteration, and those after it, are removed, so that they are made again.
    """
    folder = RunFolder(run)
    newest = folder.newest()
    for n in range(newest + 1):
        if not _whole(folder, n, newest):
            _go_back(folder, n, newest)
            return


def _whole(folder: RunFolder, n: int, newest: int) -> bool:
    """Whether an iteration's files are good, after those that can be made again were."""
    from blush.jobs import converge, denoise_and_trail, start

    run = folder.root
    small = [folder.state(n)] if n == 0 else [folder.state(n), folder.diagnostics(n)]
    last = [*_large(folder, n), *folder.maps(n, final=False)] if n == 0 else _large(folder, n)
    wanted = small + (last if n == newest else [])
    try:
        if not kept(folder, *wanted):
            if n == 0:
                mending(run, lambda: start.start(run))
            else:
                if not kept(folder, folder.diagnostics(n)):
                    mending(run, lambda: denoise_and_trail.restore_diagnostics(run, n))
                mending(run, lambda: converge.converge(run, n))
    except DamagedFile:
        return False
    if n < newest or n == 0:
        return kept(folder, *wanted)
    final = load_state(folder.state(n)).converged
    if final and not all((run / name).exists() for name in TABLES):
        return False
    statistics = [folder.statistics(n, half) for half in Subset]
    return kept(folder, *wanted, *statistics, *folder.maps(n, final=final))


def _large(folder: RunFolder, n: int) -> list[Path]:
    return [folder.poses(n), *([folder.directions(n), folder.spectra(n)] if n else [])]


def _go_back(folder: RunFolder, lost: int, newest: int) -> None:
    """Remove what followed from the lost iteration, back to the last one from which its maps can be made."""
    base = lost
    while base > 0 and not (_summed(folder, base) or kept(folder, *_needed(folder, base - 1))):
        base -= 1
    text = f"iteration {lost} of {folder.root} is damaged: iterations {base} to {newest} are made again"
    sys.stderr.write(f"blush: warning: {text}\n")
    folder.log(stage="damaged", iteration=base, fault=text)
    for n in range(newest + 1, base - 1, -1):
        made = [folder.state(n), folder.spectra(n), folder.diagnostics(n), *_large(folder, n)]
        made += folder.maps(n, final=False)
        if n != base or not _summed(folder, n):
            made += [path for half in Subset for path in (folder.sums(n, half), folder.statistics(n, half))]
        for path in made:
            path.unlink(missing_ok=True)


def _summed(folder: RunFolder, n: int) -> bool:
    """Whether both halves' sums and statistics are good."""
    return kept(folder, *(path for half in Subset for path in (folder.sums(n, half), folder.statistics(n, half))))


def _needed(folder: RunFolder, n: int) -> list[Path]:
    """What the expectation step after iteration n reads."""
    return [folder.state(n), *_large(folder, n), *folder.maps(n, final=False)]
