"""`blush report`: the page about a run."""

from pathlib import Path
from typing import Annotated

import typer

from blush.cli.watch import WHICH
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("report")(report)


def report(
    run: Annotated[Path | None, typer.Argument(help=WHICH)] = None,
    at_work: Annotated[bool, typer.Option("--at-work", help="Let the page reload itself, as a run goes on.")] = False,
) -> None:
    """Write RUN/report.html, finished or not: one self-contained page about a run."""
    from blush.jobs.runs import imported_run
    from blush.report.page import write_report

    tell(str(write_report(imported_run(run), at_work)))
