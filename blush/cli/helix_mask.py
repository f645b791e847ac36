"""`blush helix-mask`: the central part of a filament, for `blush postprocess`."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("helix-mask")(helix_mask)


def helix_mask(
    output: Annotated[Path, typer.Argument(metavar="MASK", help="The mask to write.")],
    *,
    like: Annotated[Path, typer.Option(help="A map whose box and pixel size it has.")],
    diameter: Annotated[float, typer.Option(min=1, help="Outer diameter of the filament in Å.")],
    inner_diameter: Annotated[float, typer.Option(min=0, help="Inner diameter in Å.")] = 0.0,
    central_fraction: Annotated[float, typer.Option(help="Part of the box along z, between 0 and 1.")] = 0.2,
    edge: Annotated[float, typer.Option(min=0, help="Width of the soft edges in pixels.")] = 5.0,
) -> None:
    """Write a soft mask of the central part of a tube about z.

    Ends of a box are worse than its middle, so that resolutions of different fractions are different. A finished run
    of filaments leaves the mask of its own fraction as postprocess/central_mask.mrc.
    """
    from blush.helix.masks import Tube, central_mask
    from blush.io.mrc import map_header, write_volume

    header = map_header(like)
    (box, *others), pixel = header.shape, header.pixel_size_angst
    problems = []
    if any(side != box for side in others) or box % 2:
        value = " x ".join(map(str, header.shape))
        problems.append(Problem("is not a cube of an even box", "give a map that a refinement wrote", str(like), value))
    if pixel <= 0:
        problems.append(Problem("the header has no pixel size", "set it in the header", str(like)))
    if not 0 < central_fraction < 1:
        value = f"{central_fraction:g}"
        problems.append(Problem("is not a part of the box", "give 0.1 to 0.5", None, "--central-fraction", value))
    if not problems and not inner_diameter < diameter <= 0.9 * box * pixel:
        remedy = f"give more than the inner diameter, and at most {0.9 * box * pixel:.0f} Å, 0.9 of the box"
        problems.append(Problem("does not fit", remedy, None, "--diameter", f"{diameter:g}"))
    if problems:
        raise BlushError("no mask can be made", problems)
    output.parent.mkdir(parents=True, exist_ok=True)
    mask = central_mask(box, pixel, Tube(diameter, inner_diameter), central_fraction, edge)
    write_volume(output, mask.numpy(), pixel)
    tell(str(output))
