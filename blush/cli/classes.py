"""`blush classes`: what classes are worth."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the commands."""
    classes = typer.Typer(help="What the classes of a 3D classification are worth.", no_args_is_help=True)
    classes.command("compare")(compare)
    classes.command("verify")(verify)
    app.add_typer(classes, name="classes")


def compare(
    first: Annotated[Path, typer.Argument(help="Particle STAR file with classes.")],
    second: Annotated[Path, typer.Argument(help="Another one of the same images, or the truth.")],
) -> None:
    """Tell how well the classes of two tables agree. See docs/classification.md."""
    from blush.jobs.compare_classes import compare_classes

    for line in compare_classes(first, second).lines():
        tell(line)


def verify(
    place: Annotated[
        Path,
        typer.Argument(help="Run or its configuration, RELION's Class3D, _optimiser.star, or particle STAR file."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the results; default classes_verified there.")
    ] = None,
    classes: Annotated[int | None, typer.Option(help="Number of classes; default: as many as the table has.")] = None,
    mask: Annotated[Path | None, typer.Option(help="Solvent mask; default: the sphere of the particle.")] = None,
    diameter: Annotated[float | None, typer.Option(help="Diameter of the particle in Å.")] = None,
    symmetry: Annotated[str | None, typer.Option(help="Point group; default: that of the run, or C1.")] = None,
    images: Annotated[int | None, typer.Option(min=1, help="Use at most so many images, drawn by the seed.")] = None,
    resolution: Annotated[
        float | None, typer.Option(min=0.1, help="Compare images up to this resolution in Å; default: all there is.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of halves, folds and first classes.")] = 1,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    memory_gb: Annotated[float, typer.Option(min=0.1, help="Memory that sums of classes may take, in GB.")] = 4.0,
) -> None:
    """Tell whether classes are real: divide two halves of the images independently, and put each to the other's maps.

    Poses stay. Writes classes_verified.json and the maps of differences. See docs/classification.md.
    """
    from blush.jobs.runs import given
    from blush.jobs.verify_classes import Verification
    from blush.jobs.verify_classes import verify as step

    wanted = Verification(
        output=output,
        classes=classes,
        mask=mask,
        particle_diameter_angst=diameter,
        symmetry=symmetry,
        images=images,
        resolution_limit_angst=resolution,
        seed=seed,
        device=device,
        memory_gb=memory_gb,
    )
    shown = _show if sys.stderr.isatty() else lambda stage, done, total: None
    found, folder = step(given(place), wanted, shown)
    for line in found.lines():
        tell(line)
    tell(f"\n{folder / 'classes_verified.json'}")


def _show(stage: str, done: int, total: int) -> None:
    """One line that overwrites itself on a terminal."""
    sys.stderr.write(f"\r{stage} {done}/{total} " + ("\n" if done == total else ""))
    sys.stderr.flush()
