"""The page of a run that is at work: written anew after iterations, as often as it costs next to nothing."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from blush.jobs.body_runs import body_folders
from blush.jobs.layout import RunFolder
from blush.jobs.progress import Record, read_progress

STAGE = "page"
MOST_OF_TIME = 0.05
"""Share of a run's time that its pages may take."""
FIRST_SECONDS = 5.0
"""What the first page is expected to take."""


def write_live(run: Path) -> None:
    """Write the page of a run at work in a process of its own, where that is due; what went wrong is told on stderr.

    A page that cannot be drawn is no reason to end a run.
    """
    folder, start = RunFolder(run), time.monotonic()
    logs = (folder, *body_folders(run))
    progress = [record for one in logs for record in read_progress(one.progress)]
    if not is_due(progress, time.time()):
        return
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-m", "blush", "report", "--at-work", str(run)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if made.returncode:
        reason = (made.stderr.strip().splitlines() or [f"status {made.returncode}"])[-1]
        sys.stderr.write(f"blush: warning: the page was not written: {reason}\n")
    folder.log(
        stage=STAGE,
        iteration=max(int(record.get("iteration", 0)) for record in progress),
        seconds=round(time.monotonic() - start, 3),
        cpu_seconds=round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 3),
    )


def is_due(progress: Sequence[Record], now: float) -> bool:
    """Whether another page keeps the time of all pages below its share of the run's.

    Parameters
    ----------
    progress
        Records of the progress log.
    now
        Seconds since the epoch.
    """
    if not progress:
        return False
    pages = [float(record["seconds"]) for record in progress if record["stage"] == STAGE]
    elapsed = now - min(float(record["time"]) for record in progress)
    return sum(pages) + (pages[-1] if pages else FIRST_SECONDS) <= MOST_OF_TIME * elapsed
