"""`blush status`: what ran here."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError, Problem


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status)


def status(
    where: Annotated[
        Path | None,
        typer.Argument(help="Configuration, folder of a run, or a folder above runs; default: this one."),
    ] = None,
) -> None:
    """List runs, the newest first: running, finished, not converged, or dead, with iteration and resolution.

    The same command that started a dead run continues it. In a pipe the columns are separated by tabs.
    """
    from blush.jobs.runs import configured, runs_below
    from blush.report.job_list import tell_runs

    folder = Path() if where is None else where
    place = folder if folder.is_dir() else configured(folder)
    runs = runs_below(place)
    if not runs:
        remedy = "give another folder; a run begins with `blush run my.yaml`"
        raise BlushError("nothing to list", [Problem("holds no run", remedy, str(place.absolute()))])
    tell_runs(runs)
