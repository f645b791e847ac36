"""`blush watch`: follow a run from its files."""

import sys
import threading
import time
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
    from blush.report.watch import Watcher

    ended = threading.Event()
    if once:
        ended.set()
    follow(Watcher(run), ended, interval)


def follow(watcher: "Watcher", ended: threading.Event, interval: float = 2.0) -> None:
    """Show where a run is until it has finished or `ended` is set; a line per iteration, and one that changes."""
    from blush.report.watch import state_line, status_line

    shown, last, terminal = 1, "", sys.stdout.isatty()
    clear = "\r\x1b[2K" if terminal else ""
    while True:
        over = ended.is_set()
        status = watcher.look(time.time())
        for used, state in zip(watcher.states[shown - 1 :], watcher.states[shown:], strict=False):
            typer.echo(clear + state_line(used, state))
        shown = max(shown, len(watcher.states))
        line = status_line(status)
        if over or status.finished:
            typer.echo(clear + line)
            return
        if terminal:
            typer.echo(clear + line, nl=False)
        elif line != last:
            typer.echo(line)
        last = line
        ended.wait(interval)
