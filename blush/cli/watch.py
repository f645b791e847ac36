"""`blush watch`: follow a run from its files."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from blush.report.watch_bodies import RunWatcher


WHICH = "Configuration, or folder of a run; without it the newest run in or below this folder."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    run: Annotated[Path | None, typer.Argument(help=WHICH)] = None,
    once: Annotated[bool, typer.Option("--once", help="Say where the run is and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 2.0,
) -> None:
    """Follow a run until it is done, or its process has ended; reads files only, so it works from other machines."""
    from blush.jobs.runs import run_of
    from blush.report.closing import tell_results
    from blush.report.watch_bodies import RunWatcher

    ended = threading.Event()
    if once:
        ended.set()
    folder = run_of(run)
    watcher = RunWatcher(folder)
    follow(watcher, ended, interval)
    status = watcher.look(time.time())
    if status.finished:
        tell_results(folder)
    if status.is_dead:
        raise typer.Exit(1)


def follow(watcher: "RunWatcher", ended: threading.Event, interval: float = 2.0) -> None:
    """Show where a run is until it has finished or `ended` is set; a line per iteration, and one that changes."""
    from blush.report.display import Display
    from blush.report.watch import status_line

    with Display() as display:
        while True:
            over = ended.is_set()
            status = watcher.look(time.time())
            for line in watcher.new_lines():
                display.keep(line)
            if over or status.finished or status.is_dead:
                display.keep(status_line(status))
                return
            display.change(status)
            ended.wait(interval)


@contextmanager
def followed(run: Path, quiet: bool = False) -> Iterator[None]:
    """Follow a run beside the work on it; quiet: do not."""
    from blush.report.watch_bodies import RunWatcher

    if quiet:
        yield
        return
    ended = threading.Event()
    watching = threading.Thread(target=follow, args=(RunWatcher(run), ended, 1.0), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
