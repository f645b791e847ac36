"""`blush export-cs`: particles for cryoSPARC."""

from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export-cs")(export_cs)


def export_cs(
    source: Annotated[Path, typer.Argument(help="Run, its configuration, or a particle STAR file.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: cryosparc/ beside the table.")
    ] = None,
    leave_out_aberrations: Annotated[
        bool, typer.Option("--leave-out-aberrations", help="Leave out beam tilt and aberrations, if there are any.")
    ] = False,
) -> None:
    """Write particles.cs, particles.csg and links to the stacks, for cryoSPARC's job Import Result Group.

    See docs/cryosparc.md.
    """
    from blush.jobs.export_cs import export_cs as step
    from blush.jobs.runs import given

    tell(f"{step(given(source), output, leave_out_aberrations)}: give it to cryoSPARC's job Import Result Group")
