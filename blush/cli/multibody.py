"""`blush multibody`: a whole refinement of bodies in one process."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(multibody)


def multibody(
    config: Annotated[Path, typer.Argument(help="Configuration (YAML) with `job: multibody`.")],
    quiet: Annotated[bool, typer.Option("--quiet", help="Say nothing on the way.")] = False,
) -> None:
    """Refine bodies that move against each other, from a consensus to maps, motions and report.

    The same command again continues. `blush refine` does the same with such a configuration; this command refuses one
    of another job.
    """
    from blush.cli.refine import run_job

    run_job(config, quiet, "multibody")
