"""`blush export-star`: a table of cryoSPARC as a STAR file."""

from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export-star")(export_star)


def export_star(
    table: Annotated[Path, typer.Argument(help="Particle table of cryoSPARC (.cs), or a group of results (.csg).")],
    target: Annotated[Path, typer.Argument(help="STAR file to write.")],
    passthrough: Annotated[
        list[Path] | None, typer.Option(help="File with fields that the table lacks; default: those beside it.")
    ] = None,
    project: Annotated[Path | None, typer.Option(help="Folder of the cryoSPARC project.")] = None,
    leave_out_aberrations: Annotated[
        bool, typer.Option("--leave-out-aberrations", help="Leave out what cannot be converted, and do not refuse it.")
    ] = False,
) -> None:
    """Write a particle table of cryoSPARC as a STAR file, for RELION and other programs. See docs/cryosparc.md.

    A refinement needs no such file: `particles: J42_particles.cs` will do.
    """
    from blush.io.cs_fields import CsOptions
    from blush.jobs.export_cs import export_star as step

    others = tuple(passthrough) if passthrough else None
    options = CsOptions(None if project is None else project.absolute(), others, leave_out_aberrations)
    made = step(table, target, options)
    for warning in made.warnings:
        tell(f"warning: {warning}", 9, err=True)
    tell(f"{target}: {made.particles} particles")
