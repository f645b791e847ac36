"""`blush fsc`: the correlation of two maps, shell by shell."""

from pathlib import Path
from typing import Annotated

import typer

from blush.report.tell import tell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fsc")(fsc)


def fsc(
    map1: Annotated[Path, typer.Argument(help="Map.")],
    map2: Annotated[Path, typer.Argument(help="Map of the same box and pixel size.")],
    mask: Annotated[Path | None, typer.Option(help="Mask in [0, 1]; adds masked and corrected curves.")] = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="The second map is the truth: threshold 0.5, no halves.")
    ] = False,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
    xml: Annotated[Path | None, typer.Option(help="Also write the curve for EMDB.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random phases.")] = 1,
) -> None:
    """Print the Fourier shell correlation of two maps, and the resolution."""
    from blush.fourier.fsc import fsc as correlation
    from blush.fourier.fsc import resolution_at
    from blush.fourier.limits import told
    from blush.fourier.thresholds import HALF_MAPS, TRUTH
    from blush.io.half_maps import read_half_maps
    from blush.validate.half_map_doubts import half_map_doubts
    from blush.validate.phase_randomise import masked_fsc
    from blush.validate.postprocess_files import write_fsc_xml

    files = read_half_maps(map1, map2, mask, pixel_size, independent=not truth, even=False)
    (first, second), solvent, pixel = files.halves, files.mask, files.pixel_size_angst
    box = first.shape[0]
    for warning in () if truth else half_map_doubts(first, second, pixel):
        tell(f"warning: {warning}", 9, err=True)
    threshold = TRUTH if truth else HALF_MAPS
    curves = {"unmasked": correlation(first, second)}
    if solvent is not None:
        if truth:
            curves["masked"] = correlation(first * solvent, second * solvent)
        else:
            measured = masked_fsc(first, second, solvent, seed)
            curves |= {"masked": measured.masked, "randomised": measured.randomised, "corrected": measured.corrected}
    tell("shell  resolution  " + "  ".join(f"{name:>10}" for name in curves))
    for shell in range(1, box // 2 + 1):
        values = "  ".join(f"{float(curve[shell]):10.6f}" for curve in curves.values())
        tell(f"{shell:5d}  {box * pixel / shell:8.3f} Å  {values}")
    for name, curve in curves.items():
        resolution = resolution_at(curve, threshold, box, pixel)
        if name != "randomised":
            tell(f"{name}: FSC {threshold:.3f} at {told(resolution, box, pixel)}")
    if xml is not None:
        write_fsc_xml(xml, list(curves.values())[-1].numpy(), box * pixel, "Blush FSC")
