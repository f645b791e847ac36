"""`blush denoise-and-trail`: from both halves' sums to the references of the next iteration."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command, and the name it had before for scripts that call it so."""
    app.command()(denoise_and_trail)
    app.command("regularise", hidden=True)(denoise_and_trail)


def denoise_and_trail(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    iteration: Annotated[int, typer.Option(min=1, help="Number of the iteration.")],
    here: Annotated[bool, typer.Option("--here", help="Compute in this process, without workers.")] = False,
) -> None:
    """Reconstruct both halves, compare them, and make the next references; after the last iteration the final maps."""
    if here:
        from blush.jobs import steps

        typer.echo(str(steps.denoise_and_trail(run, iteration)))
        return
    from blush.jobs import pooled

    pooled.denoise_and_trail(run, iteration, typer.echo)
