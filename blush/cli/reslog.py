"""`blush reslog`: what fewer particles resolve, and what more would."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reslog")(reslog)


def reslog(
    place: Annotated[
        Path | None,
        typer.Argument(help="Run, its configuration, or a table with poses and half-sets; default: the newest run."),
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder; default reslog there.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Solvent mask; default: that of the run, or a sphere.")] = None,
    diameter: Annotated[float | None, typer.Option(help="Diameter of the particle in Å.")] = None,
    symmetry: Annotated[str | None, typer.Option(help="Point group; default: that of the run, or C1.")] = None,
    draws: Annotated[int, typer.Option(min=2, help="Random subsets of each number of particles.")] = 3,
    fewest: Annotated[int, typer.Option(min=10, help="Particles of the smallest subset, at least.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the subsets.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
) -> None:
    """Measure the resolution of random subsets of particles at their poses (ResLog), and the B-factor of that line.

    Writes reslog.json and reslog.html; the page of a run shows the same. See docs/orientation.md.
    """
    from blush.jobs.reslog import Wanted, measure_subsets
    from blush.jobs.runs import imported_run
    from blush.report.reslog_page import verdict, write_reslog_page

    wanted = Wanted(output, mask, diameter, symmetry, draws, fewest, seed, device)
    is_table = place is not None and place.suffix in (".star", ".cs", ".csg")
    shown = _show if sys.stderr.isatty() else lambda done, total: None
    found, folder = measure_subsets(place if place is not None and is_table else imported_run(place), wanted, shown)
    tell("particles  draw  resolution, at fixed poses")
    for point in found.points:
        note = "" if point.is_counted else "  (not in the line)"
        tell(f"{point.particles:9d}  {point.draw:4d}  {point.resolution_angst:.2f} Å{note}")
    tell(verdict(found.record()))
    tell(str(write_reslog_page(folder)))


def _show(done: int, total: int) -> None:
    """One line that overwrites itself on a terminal."""
    sys.stderr.write(f"\r{done}/{total} images " + ("\n" if done == total else ""))
    sys.stderr.flush()
