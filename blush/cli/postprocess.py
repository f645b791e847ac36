"""`blush postprocess`: resolution and sharpened map of two half-maps."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.validate.postprocess import Postprocessed


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("postprocess")(postprocess)


def postprocess(
    context: typer.Context,
    run: Annotated[Path | None, typer.Argument(help="Run, or its configuration.")] = None,
    half1: Annotated[Path | None, typer.Option(help="Unfiltered half-map 1.")] = None,
    half2: Annotated[Path | None, typer.Option(help="Unfiltered half-map 2.")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("postprocess"),
    mask: Annotated[Path | None, typer.Option(help="Solvent mask; without one it is made from the maps.")] = None,
    diameter: Annotated[float | None, typer.Option(help="Particle diameter in Å, for a mask to be made.")] = None,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
    mtf: Annotated[Path | None, typer.Option(help="Detector response (STAR).")] = None,
    mtf_pixel_size: Annotated[float | None, typer.Option(help="Å per pixel of the micrographs.")] = None,
    bfactor: Annotated[float | None, typer.Option(help="B-factor in Å² instead of the fit; negative sharpens.")] = None,
    autob_lowres: Annotated[float, typer.Option(help="Low-resolution end of the B-factor fit in Å.")] = 10.0,
    autob_highres: Annotated[
        float | None,
        typer.Option(min=0, help="High-resolution end of that fit in Å; default: the resolution; 0: Nyquist."),
    ] = None,
    lowpass: Annotated[float | None, typer.Option(help="Also low-pass the map at this resolution in Å.")] = None,
    force_mask: Annotated[bool, typer.Option("--force-mask", help="Keep a mask that worsens the FSC.")] = False,
    locres: Annotated[bool, typer.Option("--locres", help="Also compute the local resolution.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the random phases.")] = 1,
) -> None:
    """Measure the resolution of two half-maps, and sharpen their average."""
    if run is not None:
        _refuse_ignored(context)
        _postprocess_run(run)
        return
    if half1 is None or half2 is None:
        remedy = "give a run, or both --half1 and --half2"
        raise BlushError("cannot postprocess", [Problem("two half-maps are needed", remedy)])
    if mtf is not None and mtf_pixel_size is None:
        problem = Problem("the micrographs' pixel size is missing", "add --mtf-pixel-size", str(mtf))
        raise BlushError("cannot divide by the detector response", [problem])
    import torch

    from blush.io.optics import read_mtf
    from blush.validate.postprocess import Sharpening
    from blush.validate.postprocess_files import MaskSource, postprocess_files

    frequency, value = map(torch.from_numpy, read_mtf(mtf)) if mtf else (None, None)
    sharpening = Sharpening(
        adhoc_bfactor_angst2=bfactor,
        autob_lowres_angst=autob_lowres,
        autob_highres_angst=autob_highres,
        lowpass_angst=lowpass,
        mtf_frequency=frequency,
        mtf_value=value,
        original_pixel_size_angst=mtf_pixel_size,
    )
    source = MaskSource(mask, diameter)
    result = postprocess_files(
        out, half1, half2, source, seed, sharpening, pixel_size_angst=pixel_size, force_mask=force_mask
    )
    _tell(result)
    if locres:
        from blush.validate.local_resolution import local_resolution_files

        tell(local_resolution_files(out, half1, half2, seed, pixel_size, result.bfactor_angst2).summary())


def _postprocess_run(run: Path) -> None:
    """With the halves and settings of a run."""
    from blush.jobs.runs import imported_run
    from blush.jobs.steps import postprocess as step
    from blush.report.closing import tell_results

    tell_results(step(imported_run(run)).parent)


def _refuse_ignored(context: typer.Context) -> None:
    """Tell of options beside a run folder, whose own settings are used."""
    given = [name for name in context.params if _is_given(context, name) and name != "run"]
    if given:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
        remedy = "leave the options out, or give --half1 and --half2 instead of the run folder"
        raise BlushError(
            "cannot postprocess", [Problem("a run folder is measured with its own settings", remedy, options)]
        )


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _tell(result: "Postprocessed") -> None:
    """Print what was found: warnings, resolutions and what limits them, B-factor and the range of its fit."""
    from blush.fourier.limits import told

    for warning in result.warnings:
        tell(f"warning: {warning}", 9, err=True)
    box, pixel = result.map.shape[0], result.pixel_size_angst
    tell(f"resolution {told(result.resolution_angst, box, pixel)}")
    tell(f"unmasked {told(result.unmasked_resolution_angst, box, pixel)}")
    tell(f"B-factor {result.bfactor_told}")
