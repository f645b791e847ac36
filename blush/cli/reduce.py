"""`blush reduce`: the sum of one subset's shards."""

from pathlib import Path
from typing import Annotated

import typer

from blush.cli.expectation import SubsetOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reduce)


def reduce(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
    subset: SubsetOption,
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Add up one subset's shards in their fixed order."""
    if here:
        from blush.jobs import steps

        typer.echo(str(steps.reduce_subset(run, iteration, subset)))
        return
    from blush.jobs import pooled

    pooled.reduce(run, iteration, subset, typer.echo)
