"""`blush report`: the page about a run."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(run: Annotated[Path, typer.Argument(help="Run folder, finished or not.")]) -> None:
    """Write RUN/report.html: one self-contained page about a run."""
    from blush.report.page import write_report

    typer.echo(str(write_report(run)))
