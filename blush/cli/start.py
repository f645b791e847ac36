"""`blush start`: iteration 0 of an imported run."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(start)


def start(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Estimate the noise and filter the reference: the state from which iteration 1 runs."""
    if here:
        from blush.jobs import steps

        steps.start(run)
        return
    from blush.jobs import pooled

    pooled.start(run, typer.echo)
