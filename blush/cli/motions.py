"""`blush motions`: what moves in a molecule of several bodies, and what is only noise."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("motions")(motions)


def motions(
    source: Annotated[Path, typer.Argument(help="Multi-body run, its configuration, or a motions.npz.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the results; motions/ beside the record.")] = None,
    maps: Annotated[bool, typer.Option(help="Write maps along components, and the combined map.")] = True,
    components: Annotated[int, typer.Option(min=0, help="Components that get maps, at most.")] = 3,
    seed: Annotated[int, typer.Option(help="Seed of the molecules that are drawn for comparison.")] = 1,
    component: Annotated[int | None, typer.Option(min=1, help="Choose images along this component.")] = None,
    low: Annotated[float | None, typer.Option("--from", help="Lowest place, in standard deviations.")] = None,
    high: Annotated[float | None, typer.Option("--to", help="Highest place, in standard deviations.")] = None,
    mode: Annotated[int | None, typer.Option(min=1, help="Only images of this mode; 1 is the lowest.")] = None,
    particles: Annotated[Path | None, typer.Option(help="Table that was refined; that of the run.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="STAR file of the chosen images.")] = None,
) -> None:
    """Say how bodies move beyond what the uncertainty of their poses explains, and write maps along it.

    With --component, write the images at some places along one component as a STAR file instead. See docs/multibody.md.
    """
    from blush.jobs.body_motions import FOLDER, Choice, find_motions, select_images, write_analysis
    from blush.jobs.runs import given

    if component is None and (low is not None or high is not None or mode is not None or output is not None):
        problem = Problem("is missing", "say along which one images are chosen: --component 1", where="--component")
        raise BlushError("no images can be chosen", [problem])
    found = find_motions(given(source), seed)
    if component is not None:
        path, count = select_images(found, Choice(component, low, high, mode), output, particles)
        tell(f"{count} of {found.record.n_images} images: {path}")
        return
    tell("\n".join(found.found.lines()))
    folder = found.path.parent / FOLDER if out is None else out
    write_analysis(found, folder, components, seed, maps)
    from blush.report.motion_sections import write_motion_page

    tell(f"\n{write_motion_page(folder)}")
