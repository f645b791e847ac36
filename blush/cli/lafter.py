"""`blush lafter`: the finished map, filtered locally by the agreement of its halves."""

from pathlib import Path
from typing import Annotated

import typer

from blush.errors import BlushError
from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lafter")(lafter)


def lafter(
    half1: Annotated[Path, typer.Argument(help="Unfiltered half-map 1.")],
    half2: Annotated[Path, typer.Argument(help="Unfiltered half-map 2, of the same box and pixel size.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Map to write (.mrc), of twice the box.")],
    mask: Annotated[Path | None, typer.Option(help="Mask of the refinement; none: the sphere of the diameter.")] = None,
    diameter: Annotated[float | None, typer.Option(min=0, help="Particle diameter in Å; none: 0.9 of the box.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
) -> None:
    """Filter two half-maps into one map to look at; it cannot be refined against, or compared between halves."""
    from blush.io.half_maps import read_half_maps
    from blush.io.mrc import write_volume
    from blush.regularise.from_maps import particle_mask
    from blush.regularise.lafter import UPSAMPLING
    from blush.regularise.lafter import lafter as filtered
    from blush.validate.half_map_doubts import half_map_doubts

    files = read_half_maps(half1, half2, mask, pixel_size)
    (first, second), pixel = files.halves, files.pixel_size_angst
    for warning in half_map_doubts(first, second, pixel):
        tell(f"warning: {warning}", 9, err=True)
    box = first.shape[0]
    radius_px = (diameter or 0.9 * box * pixel) / (2 * pixel)
    solvent = particle_mask(box, radius_px, first) if files.mask is None else files.mask
    try:
        made = filtered(first, second, solvent)
    except ValueError as error:
        raise BlushError("the half-maps cannot be filtered", [str(error)]) from None
    write_volume(out, made.map.numpy(), pixel / UPSAMPLING, files.placement.finer(UPSAMPLING))
    tell("shell  resolution        Cref  FSC with the sum")
    for shell in range(1, box // 2 + 1):
        values = f"{float(made.cref[shell]):10.4f}  {float(made.fsc_to_sum[shell]):16.4f}"
        tell(f"{shell:5d}  {box * pixel / shell:8.3f} Å  {values}")
    tell(f"{len(made.bands)} bands to {pixel / made.bands[-1].high:.2f} Å, signal in {made.agreed:.1%} of the mask")
    difference = made.excess()
    tell(f"FSC with the sum is {abs(difference):.3f} {'above' if difference > 0 else 'below'} Cref on average")
    tell(str(out))
