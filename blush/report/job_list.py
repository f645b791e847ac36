"""What ran here: one row per run, with its state and what it has found so far."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from blush.cluster.holder import holder_of
from blush.errors import BlushError
from blush.io.files import read_record
from blush.jobs.certificates import FAILS, certificates
from blush.jobs.progress import Record
from blush.jobs.runs import is_training, last_change
from blush.jobs.settings import SETTINGS
from blush.report.closing import near
from blush.report.tell import tell
from blush.report.timing import compact
from blush.report.watch import SILENT_SECONDS, Status
from blush.report.watch_bodies import RunWatcher

_GAP = 2


@dataclass(frozen=True)
class Row:
    """One run in words."""

    run: str
    job: str
    state: str
    iteration: str
    resolution: str
    changed: str


def row_of(run: Path, now: float) -> Row:
    """What is known of a run; `now` is the time in seconds since the epoch. One that cannot be read says so."""
    changed = f"{compact(max(0.0, now - last_change(run)))} ago"
    try:
        settings = read_record(run / SETTINGS)
        if is_training(run):
            return Row(near(run), "train", _training_state(run), "", "", changed)
        job = str(settings.get("job", ""))
        watcher = RunWatcher(run)
        status = watcher.look(now)
        iteration, found = watcher.reached
        if status.finished:
            found = _resolution(read_record(run / "summary.json", members=("resolution_angst",)))
        state = ", ".join(part for part in (_state(status), _doubt(run)) if part)
        return Row(near(run), job, state, iteration, found, changed)
    except BlushError as error:
        reason = error.problems[0] if error.problems else error.title
        return Row(near(run), "", f"cannot be read: {reason}", "", "", changed)


def _doubt(run: Path) -> str:
    """Iterations whose certificate fails; bodies have folders and pages of their own."""
    records = [read_record(path) for path in sorted(run.glob("it*/maps.json"))]
    found = certificates({int(record["iteration"]): record for record in records})
    wrong = [str(n) for n, one in found.items() if one.verdict == FAILS]
    return f"certificate fails in iteration {', '.join(wrong)}" if wrong else ""


def _resolution(summary: Record) -> str:
    """What a finished run resolves, or each of its bodies."""
    each = [(f"{one['name']} ", one["resolution_angst"]) for one in summary.get("bodies", ()) if one["refined"]]
    each = each or [("", summary["resolution_angst"])]
    return ", ".join(f"{name}{found:.2f} Å" for name, found in each if found is not None)


def _state(status: Status) -> str:
    """finished, not converged, running, dead, or what else is known."""
    if status.finished:
        return "not converged" if status.gave_up else "finished"
    if status.holder is None or status.is_dead:
        return "dead"
    if status.holder.lives:
        return "running"
    silent = f", silent for {compact(status.silent_seconds)}" if status.silent_seconds >= SILENT_SECONDS else ""
    return f"on {status.holder.host}{silent}"


def _training_state(run: Path) -> str:
    if (run / "export" / "manifest.json").exists():
        return "finished"
    holder = holder_of(run)
    if holder is not None and holder.lives is None:
        return f"on {holder.host}"
    return "running" if holder is not None and holder.lives else "dead"


def tell_runs(runs: Sequence[Path]) -> None:
    """Write what ran: a table on a terminal that is wide enough, else a few lines per run; in a pipe rows with tabs."""
    names = tuple(field.name for field in fields(Row))
    rows = [astuple(row_of(run, time.time())) for run in runs]
    if not sys.stdout.isatty():
        sys.stdout.write("".join("\t".join(row) + "\n" for row in [names, *rows]))
        return
    widths = [max(map(len, column)) for column in zip(names, *rows, strict=True)]
    if sum(widths) + _GAP * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        _tell_table(names, rows)
        return
    for run, job, state, iteration, *rest in rows:
        tell(run, _GAP)
        numbered = f"iteration {iteration}" if iteration else ""
        tell(" " * _GAP + ", ".join(part for part in (job, state, numbered, *rest) if part), _GAP)


def _tell_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(*names, box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False).print(table)
