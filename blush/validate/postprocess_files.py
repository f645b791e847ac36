"""Postprocessing from files to files, under RELION's names and in its tables, and EMDB's FSC file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.mask import auto_mask
from blush.io.files import atomic_write
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star, write_star
from blush.validate.postprocess import FSC_THRESHOLD, Postprocessed, Sharpening, postprocess

_GUINIER_COLUMNS = {
    "inverse_d2": "rlnResolutionSquared",
    "original": "rlnLogAmplitudesOriginal",
    "mtf_corrected": "rlnLogAmplitudesMTFCorrected",
    "weighted": "rlnLogAmplitudesWeighted",
    "sharpened": "rlnLogAmplitudesSharpened",
}


@dataclass(frozen=True)
class MaskSource:
    """Where the solvent mask comes from: a file, or the average of the halves (`blush.fourier.mask.auto_mask`).

    Parameters
    ----------
    path
        Mask file; None to make one.
    particle_diameter_angst
        Sphere that holds the particle, for a mask to be made; None is 0.9 of the box.
    """

    path: Path | None = None
    particle_diameter_angst: float | None = None
    lowpass_angst: float = 15.0
    extend_px: float = 3.0
    edge_px: float = 6.0


def postprocess_files(
    folder: Path,
    half1: Path,
    half2: Path,
    mask: MaskSource,
    seed: int,
    sharpening: Sharpening | None = None,
    pixel_size_angst: float | None = None,
    randomise_from_fsc: float = 0.8,
    force_mask: bool = False,
) -> Postprocessed:
    """Write postprocess.mrc, postprocess_masked.mrc, mask.mrc, fsc.xml and, last, postprocess.star to `folder`.

    Parameters
    ----------
    half1, half2
        Unfiltered half-maps; their names go to postprocess.star.
    pixel_size_angst
        Overrides that of the headers.

    Raises
    ------
    BlushError
        Maps that cannot be read, or differ in size or pixel size.
    """
    first, second, pixel = read_halves(half1, half2, pixel_size_angst)
    solvent = _mask(mask, first, second, pixel)
    result = postprocess(first, second, pixel, solvent, seed, sharpening, randomise_from_fsc, force_mask)
    write_volume(folder / "mask.mrc", solvent.numpy(), pixel)
    write_volume(folder / "postprocess.mrc", result.map.numpy(), pixel)
    write_volume(folder / "postprocess_masked.mrc", (result.map * solvent).numpy(), pixel)
    write_fsc_xml(folder / "fsc.xml", result.curves.corrected.numpy(), first.shape[0] * pixel)
    names = (str(half1), str(half2), str(mask.path or folder / "mask.mrc"))
    write_star(folder / "postprocess.star", star_blocks(result, pixel, names), "Blush postprocess")
    return result


def read_halves(half1: Path, half2: Path, pixel_size_angst: float | None = None) -> tuple[Tensor, Tensor, float]:
    """Two cubic maps of one size and their pixel size in Å.

    Raises
    ------
    BlushError
        With everything that does not fit together.
    """
    (first, pixel), (second, other) = read_volume(half1), read_volume(half2)
    problems = []
    for path, array in ((half1, first), (half2, second)):
        if len(set(array.shape)) != 1:
            problems.append(Problem("map is not cubic", "pad it to a cube", str(path), value=str(array.shape)))
    if first.shape != second.shape:
        problems.append(
            Problem(f"differs in size from {half1}", "give two halves of one run", str(half2), value=str(second.shape))
        )
    if pixel_size_angst is None and (pixel <= 0 or abs(pixel - other) > 1e-3 * pixel):
        remedy = "give the right one with --pixel-size"
        problems.append(Problem("pixel sizes differ or are missing", remedy, str(half2), value=f"{pixel}, {other}"))
    if problems:
        raise BlushError("the half-maps do not belong together", problems)
    return torch.from_numpy(first), torch.from_numpy(second), pixel_size_angst or pixel


def _mask(source: MaskSource, first: Tensor, second: Tensor, pixel: float) -> Tensor:
    """The mask of a file, checked, or one made from the average of the halves."""
    box = first.shape[0]
    if source.path is None:
        unmasked = resolution_at(fsc(first, second), FSC_THRESHOLD, box, pixel)
        lowpass = max(source.lowpass_angst, min(unmasked, box * pixel))
        diameter = source.particle_diameter_angst or 0.9 * box * pixel
        return auto_mask((first + second) / 2, pixel, diameter, lowpass, source.extend_px, source.edge_px)
    mask = torch.from_numpy(read_volume(source.path)[0])
    problems = []
    if mask.shape != first.shape:
        remedy = f"give a mask of {tuple(first.shape)}"
        problems.append(
            Problem("differs in size from the maps", remedy, str(source.path), value=str(tuple(mask.shape)))
        )
    low, high = float(mask.min()), float(mask.max())
    if low < -1e-3 or high > 1.001 or high < 0.5:
        remedy = "scale it to 0 in the solvent and 1 on the particle"
        problems.append(Problem("a mask lies in [0, 1]", remedy, str(source.path), value=f"{low:g} to {high:g}"))
    if problems:
        raise BlushError("the mask cannot be used", problems)
    return mask


def star_blocks(result: Postprocessed, pixel_size_angst: float, names: tuple[str, str, str]) -> dict[str, Any]:
    """The blocks general, fsc and guinier of a postprocess.star; `names` are those of half 1, half 2 and mask."""
    curves, n = result.curves, len(result.curves.corrected)
    box_angst = result.map.shape[0] * pixel_size_angst
    randomise = None if curves.randomise_from is None else box_angst / curves.randomise_from
    general: dict[str, Any] = {
        "rlnFinalResolution": min(result.resolution_angst, 999.0),
        "rlnBfactorUsedForSharpening": result.bfactor_angst2,
        "rlnUnfilteredMapHalf1": names[0],
        "rlnUnfilteredMapHalf2": names[1],
        "rlnParticleBoxFractionSolventMask": result.particle_fraction,
        "rlnMaskName": names[2] if result.mask_used else "None",
    }
    if randomise is not None:
        general["rlnRandomiseFrom"] = randomise
    if result.fit is not None:
        general["rlnFittedSlopeGuinierPlot"] = result.fit.slope
        general["rlnFittedInterceptGuinierPlot"] = result.fit.intercept
        general["rlnCorrelationFitGuinierPlot"] = result.fit.determination
    shell = np.arange(n)
    fraction = result.particle_fraction * curves.unmasked
    table = {
        "rlnSpectralIndex": shell,
        "rlnResolution": shell / box_angst,
        "rlnAngstromResolution": np.append(999.0, box_angst / shell[1:]),
        "rlnFourierShellCorrelationCorrected": curves.corrected.cpu().numpy(),
        "rlnFourierShellCorrelationParticleMaskFraction": (
            (fraction / (1 + (result.particle_fraction - 1) * curves.unmasked)).cpu()
        ).numpy(),
        "rlnFourierShellCorrelationUnmaskedMaps": curves.unmasked.cpu().numpy(),
        "rlnFourierShellCorrelationMaskedMaps": curves.masked.cpu().numpy(),
        "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": curves.randomised.cpu().numpy(),
    }
    return {"general": general, "fsc": table, "guinier": _guinier_table(result)}


def _guinier_table(result: Postprocessed) -> dict[str, Any]:
    """Guinier plot; an empty shell is -99, as in RELION's files."""
    columns = {
        _GUINIER_COLUMNS[name]: torch.nan_to_num(values.cpu(), neginf=-99.0).numpy()
        for name, values in result.guinier.items()
    }
    if result.fit is not None:
        intercept = result.fit.intercept
        columns["rlnLogAmplitudesIntercept"] = np.full(len(result.guinier["original"]), intercept)
    return columns


def write_fsc_xml(path: Path, curve: np.ndarray, box_angst: float, title: str = "Blush masked-corrected FSC") -> None:
    """FSC curve in the XML that EMDB takes: x in Å⁻¹, from the first shell on, y the correlation."""
    points = "".join(
        f"  <coordinate>\n    <x>{shell / box_angst:.6f}</x>\n    <y>{value:.6f}</y>\n  </coordinate>\n"
        for shell, value in enumerate(curve)
        if shell > 0
    )
    head = f'<fsc title={quoteattr(title)} xaxis="Resolution (A-1)" yaxis="Correlation Coefficient">\n'
    with atomic_write(path) as beside:
        beside.write_text(head + points + "</fsc>\n", encoding="utf-8")


def read_mtf(path: Path) -> tuple[Tensor, Tensor]:
    """Detector response from a STAR file: cycles per pixel of the micrograph, and value.

    Raises
    ------
    BlushError
        The file lacks the columns.
    """
    for table in read_star(path).values():
        if {"rlnResolutionInversePixel", "rlnMtfValue"} <= table.keys():
            columns = (table["rlnResolutionInversePixel"], table["rlnMtfValue"])
            frequency, value = (torch.from_numpy(np.asarray(column, dtype=np.float64)) for column in columns)
            return frequency, value
    remedy = "give a STAR file with rlnResolutionInversePixel and rlnMtfValue"
    raise BlushError("cannot read the detector response", [Problem("no MTF table in it", remedy, file=str(path))])
