"""`blush expectation`: the expectation step of one subset."""

from pathlib import Path
from typing import Annotated

import typer

from blush.refine.subset import Subset


def _subset(name: str) -> Subset:
    try:
        return Subset.named(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


SubsetOption = Annotated[
    Subset, typer.Option(parser=_subset, metavar="half1|half2|all", help="Subset of the particles.")
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(expectation)


def expectation(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
    subset: SubsetOption,
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Score all poses and sum up one subset's shards; those on disk already are kept."""
    if here:
        from blush.jobs import steps

        for shard in steps.missing_shards(run, iteration, subset):
            typer.echo(str(steps.expectation_shard(run, iteration, subset, shard)))
        return
    from blush.jobs import pooled

    pooled.expectation(run, iteration, subset, typer.echo)
