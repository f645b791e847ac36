"""`blush denoise`: any regulariser, by hand, on the two half-maps of a finished refinement."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.config.regulariser import RegulariserSettings
    from blush.regularise.drive import Policy


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("denoise")(denoise)


def denoise(
    half1: Annotated[Path, typer.Argument(help="Unfiltered half-map 1.")],
    half2: Annotated[Path, typer.Argument(help="Unfiltered half-map 2, of the same box and pixel size.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")],
    method: Annotated[str, typer.Option(help="Regulariser, as in regulariser.name.")] = "nonuniform",
    weights: Annotated[Path | None, typer.Option(help="Weights of a network (.safetensors).")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Other settings, as nonuniform.awf=1.5; may be repeated.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Solvent mask; none: the sphere of the diameter.")] = None,
    diameter: Annotated[float | None, typer.Option(min=0, help="Particle diameter in Å; none: 0.9 of the box.")] = None,
    symmetry: Annotated[str, typer.Option(help="Point group.")] = "C1",
    trailing: Annotated[int, typer.Option(min=0, help="Shells to stay behind FSC = 1/7.")] = 2,
    no_trailing: Annotated[bool, typer.Option("--no-trailing", help="Do not cut the maps.")] = False,
    pixel_size: Annotated[float | None, typer.Option(help="Å per pixel, instead of the headers'.")] = None,
    device: Annotated[str, typer.Option(help="cpu, or a CUDA device.")] = "cpu",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 1,
) -> None:
    """Regularise two half-maps as an iteration would; writes half1.mrc, half2.mrc and diagnostics.json.

    The maps are references, made to be aligned to: report the resolution of the unfiltered halves alone.
    """
    settings = _settings(method, weights, setting or [])
    import numpy as np

    from blush.fourier.fsc import resolution_at
    from blush.fourier.limits import told
    from blush.fourier.thresholds import HALF_MAPS
    from blush.io.files import write_json
    from blush.io.half_maps import read_half_maps
    from blush.io.mrc import write_volume
    from blush.regularise.drive import drive
    from blush.regularise.from_maps import half_maps, particle_mask
    from blush.regularise.select import regulariser
    from blush.validate.half_map_doubts import half_map_doubts
    from blush.validate.phase_randomise import solvent_corrected_fsc

    files = read_half_maps(half1, half2, mask, pixel_size).to(device)
    box, pixel = files.halves[0].shape[0], files.pixel_size_angst
    for warning in half_map_doubts(*files.halves, pixel):
        tell(f"warning: {warning}", 9, err=True)
    _check_symmetry(symmetry)
    diameter = diameter or 0.9 * box * pixel
    solvent = particle_mask(box, diameter / (2 * pixel), files.halves[0]) if files.mask is None else files.mask
    curve = solvent_corrected_fsc(*files.halves, solvent, seed)
    chosen = regulariser(settings)
    maps = half_maps(
        *files.halves,
        pixel,
        particle_diameter_angst=diameter,
        fsc=curve.cpu().numpy().astype(np.float64),
        mask=solvent,
        symmetry=symmetry,
        seed=seed,
        scratch=out / "scratch",
        pad=2 if {"sums", "weights"} & set(chosen.reads) else 1,
    )
    made = drive(chosen, maps, _policy(None if no_trailing else trailing, settings))
    for half, reference in enumerate(made.references, start=1):
        write_volume(out / f"half{half}.mrc", reference.cpu().numpy(), pixel, files.placement)
    write_json(out / "diagnostics.json", made.diagnostics)
    tell(f"half-maps: FSC {HALF_MAPS} at {told(resolution_at(curve, HALF_MAPS, box, pixel), box, pixel)}")
    _tell(method, made.diagnostics, box * pixel, out)


def _policy(trailing_shells: int | None, settings: "RegulariserSettings") -> "Policy":
    from blush.regularise.drive import Policy

    return Policy(trailing_shells, certified=settings.certificate, jacobian_passes=settings.jacobian_passes)


def _tell(method: str, diagnostics: dict[str, Any], box_angst: float, out: Path) -> None:
    """Where the maps are and were cut, and what their certificate says."""
    cut = diagnostics["trailing_shell"]
    tell(f"{method}: {f'cut at {box_angst / cut:.2f} Å' if cut else 'not cut'}: {out}/half1.mrc, half2.mrc")
    if (found := diagnostics.get("certificate")) is not None:
        tell(f"certificate: {found['verdict']}: {'; '.join(found['words'])}")


def _check_symmetry(symmetry: str) -> None:
    """Refuse what is no point group."""
    from blush.geometry.symmetry import operators

    try:
        operators(symmetry)
    except ValueError as error:
        raise BlushError("the symmetry cannot be used", [str(error)]) from None


def _settings(method: str, weights: Path | None, changes: list[str]) -> "RegulariserSettings":
    """The section `regulariser` that the options spell out.

    Raises
    ------
    BlushError
        With every mistake of the options.
    """
    from blush.config.files import checked, merged, parsed_changes
    from blush.config.regulariser import RegulariserSettings

    example = "nonuniform.awf=1.5"
    for change in changes:
        if "." not in change.partition("=")[0]:
            problem = Problem("is not SECTION.NAME=VALUE", f"write it as {example}", value=change)
            raise BlushError("a setting cannot be used", [problem])
    content = {"name": method} | parsed_changes(changes, example)
    if weights is not None:
        network = str(content.get("red", {}).get("denoiser", "blush")) if method == "red" else method
        content = merged(content, {network: {"weights": weights}})
    return checked(RegulariserSettings, content, "the regulariser")
