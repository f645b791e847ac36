"""`blush select`: the images of some classes as a table of their own."""

from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("select")(select)


def select(
    source: Annotated[Path, typer.Argument(help="Classification, its configuration, or a table with classes.")],
    classes: Annotated[str, typer.Option(help="Numbers of the classes to keep: 1,3.")],
    least_posterior: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only images whose class is at least as probable.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="STAR file to write; selected_1_3.star beside the source.")
    ] = None,
) -> None:
    """Write the images of some classes, to refine or to classify again. See docs/classification.md."""
    from blush.errors import BlushError, Problem
    from blush.jobs.runs import given
    from blush.jobs.select_classes import TITLE, select_classes

    try:
        wanted = [int(number) for number in classes.split(",")]
    except ValueError:
        problem = Problem("is no list of numbers", "write it as --classes 1,3", where="--classes", value=classes)
        raise BlushError(TITLE, [problem]) from None
    made = select_classes(given(source), wanted, least_posterior, output)
    tell(f"{made.kept} of {made.total} images: {made.path}")
