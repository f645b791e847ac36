"""`blush reduce`: the sum of one half's shards."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reduce)


def reduce(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
    half: Annotated[int, typer.Option(min=1, max=2, help="Half-set.")],
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Add up one half's shards in their fixed order."""
    if here:
        from blush.jobs import steps

        typer.echo(str(steps.reduce_half(run, iteration, half)))
        return
    from blush.jobs import pooled

    pooled.reduce(run, iteration, half, typer.echo)
