"""`blush watch`: follow a run from its files."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from blush.report.watch import Watcher


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    run: Annotated[Path, typer.Argument(help="Run folder, output/name.")],
    once: Annotated[bool, typer.Option("--once", help="Say where the run is and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 2.0,
) -> None:
    """Follow a run until it is done; reads files only, so it works anywhere the folder can be seen."""
    from blush.report.closing import tell_results
    from blush.report.watch import Watcher

    ended = threading.Event()
    if once:
        ended.set()
    watcher = Watcher(run)
    follow(watcher, ended, interval)
    if watcher.look(time.time()).finished:
        tell_results(run)


def follow(watcher: "Watcher", ended: threading.Event, interval: float = 2.0) -> None:
    """Show where a run is until it has finished or `ended` is set; a line per iteration, and one that changes."""
    from blush.report.display import Display
    from blush.report.watch import state_line, status_line

    shown = 1
    with Display() as display:
        while True:
            over = ended.is_set()
            status = watcher.look(time.time())
            for used, state in zip(watcher.states[shown - 1 :], watcher.states[shown:], strict=False):
                display.keep(state_line(used, state))
            shown = max(shown, len(watcher.states))
            if over or status.finished:
                display.keep(status_line(status))
                return
            display.change(status)
            ended.wait(interval)


@contextmanager
def followed(run: Path, quiet: bool = False) -> Iterator[None]:
    """Follow a run beside the work on it; quiet: do not."""
    from blush.report.watch import Watcher

    if quiet:
        yield
        return
    ended = threading.Event()
    watching = threading.Thread(target=follow, args=(Watcher(run), ended, 1.0), daemon=True)
    watching.start()
    try:
        yield
    finally:
        ended.set()
        watching.join()
