"""`blush classify`: a whole classification in one process."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(classify)


def classify(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML) with `job: classify`.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way.")] = False,
) -> None:
    """Divide images among classes, from one configuration to maps and report; the same command again continues.

    `blush refine` does the same with such a configuration; this command refuses one of another job.
    """
    from blush.cli.refine import run_job

    run_job(config, quiet, "classify")
