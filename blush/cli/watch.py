"""`blush watch`: follow a run from its files."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("watch")(watch)


def watch(
    run: Annotated[Path, typer.Argument(help="Run folder, output/name.")],
    once: Annotated[bool, typer.Option("--once", help="Say where the run is and end.")] = False,
    interval: Annotated[float, typer.Option(min=0.05, help="Seconds between looks.")] = 2.0,
) -> None:
    """Follow a run until it is done; reads files only, so it works anywhere the folder can be seen."""
    from blush.report.watch import Watcher, state_line, status_line

    watcher, shown, terminal = Watcher(run), 1, sys.stdout.isatty()
    last = ""
    while True:
        status = watcher.look(time.time())
        clear = "\r\x1b[2K" if terminal else ""
        for used, state in zip(watcher.states[shown - 1 :], watcher.states[shown:], strict=False):
            typer.echo(clear + state_line(used, state))
        shown = max(shown, len(watcher.states))
        line = status_line(status)
        if once or status.finished:
            typer.echo(clear + line)
            return
        if terminal:
            typer.echo(clear + line, nl=False)
        elif line != last:
            typer.echo(line)
        last = line
        time.sleep(interval)
