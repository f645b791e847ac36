"""`blush classes`: what classes are worth."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    classes = typer.Typer(help="What the classes of a 3D classification are worth.", no_args_is_help=True)
    classes.command("compare")(compare)
    app.add_typer(classes, name="classes")


def compare(
    first: Annotated[Path, typer.Argument(help="Particle STAR file with classes.")],
    second: Annotated[Path, typer.Argument(help="Another one of the same images, or the truth.")],
) -> None:
    """Tell how well the classes of two tables agree. See docs/classification.md."""
    from blush.jobs.compare_classes import compare_classes

    for line in compare_classes(first, second).lines():
        typer.echo(line)
