"""`blush orientation`: does a map suffer from preferred orientation?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.cli.watch import WHICH
from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.jobs.orientation import Measured


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("orientation")(orientation)


def orientation(
    run: Annotated[Path | None, typer.Argument(help=WHICH)] = None,
    half1: Annotated[Path | None, typer.Option(help="Unfiltered half-map 1.")] = None,
    half2: Annotated[Path | None, typer.Option(help="Unfiltered half-map 2.")] = None,
    particles: Annotated[Path | None, typer.Option(help="STAR file with the refined poses.")] = None,
    symmetry: Annotated[str, typer.Option(help="Point group, as RELION names it.")] = "C1",
    mask: Annotated[Path | None, typer.Option(help="Solvent mask in [0, 1].")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random halves and views to compare with.")] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder for orientation.json, orientation.npz and a page.")] = None,
) -> None:
    """Say whether all directions of a map hold signal (cFAR, directional FSC), and views sample them (SCF*).

    Of a finished run, or of the half-maps and the table that are given. Also prints the resolution that fewer or more
    particles would give (ResLog), and the B-factor of that line.
    """
    from blush.jobs.orientation import Source, measure, source_of_files, source_of_run, write_curves
    from blush.jobs.runs import imported_run

    if half1 is None and half2 is None and particles is None:
        source = source_of_run(imported_run(run))
    elif run is None and half1 is not None and half2 is not None and particles is not None:
        import torch

        files = Source(half1, half2, mask, torch.empty(0, 3), symmetry, seed, pixel_size)
        source = source_of_files(files, particles)
    else:
        remedy = "give a finished run, or --half1, --half2 and --particles"
        raise BlushError("cannot measure directions", [Problem("maps and poses are needed", remedy)])
    found = measure(source)
    _show(found)
    if out is not None:
        from blush.io.files import write_json
        from blush.report.direction_sections import write_direction_page

        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "orientation.json", found.record())
        write_curves(out / "orientation.npz", found.orientation, source)
        tell(str(write_direction_page(out)))


def _show(found: "Measured") -> None:
    """Verdict and figures."""
    directions, number = found.orientation.record(), found.by_number
    tell(found.orientation.verdict())
    least = directions["cfar_isotropic_min"]
    limit = f"preferred orientation below {directions['cfar_least']}, if also below {least:.3f}"
    tell(f"cFAR  {directions['cfar']:.3f}  {limit}, the least of isotropic halves with this mask and FSC", 13)
    tell(f"SCF*  {directions['scf_star']:.3f}  uneven views below {directions['scf_star_least']:.3f}", 13)
    ends = {name: value for name, value in directions["resolution_angst"].items() if value is not None}
    tell("resolution by direction: " + ", ".join(f"{name} {value:.2f} Å" for name, value in ends.items()), 2)
    tell("particles  resolution, predicted at these poses")
    for count, resolution_angst in zip(number.particles, number.resolution_angst, strict=True):
        tell(f"{count:9d}  {resolution_angst:.2f} Å")
    if number.bfactor_angst2 is not None:
        tell(f"B-factor of that line {number.bfactor_angst2:.0f} Å² (fewer particles would be aligned worse)")
