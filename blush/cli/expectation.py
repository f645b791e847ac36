"""`blush expectation`: the expectation step of one half."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expectation)


def expectation(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
    half: Annotated[int, typer.Option(min=1, max=2, help="Half-set.")],
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Score all poses and sum up one half's shards; those on disk already are kept."""
    if here:
        from blush.jobs import steps

        for shard in steps.missing_shards(run, iteration, half):
            typer.echo(str(steps.expectation_shard(run, iteration, half, shard)))
        return
    from blush.jobs import pooled

    pooled.expectation(run, iteration, half, typer.echo)
