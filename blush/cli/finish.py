"""`blush finish`: from a converged run to its results."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(finish)


def finish(run: Annotated[Path, typer.Argument(help="Run folder.")]) -> None:
    """Masked FSC, sharpened map, local resolution and summary.json of a converged run."""
    from blush.jobs import steps

    typer.echo(str(steps.postprocess(run)))
