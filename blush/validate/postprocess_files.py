"""Postprocessing from files to files, under RELION's names and in its tables, and EMDB's FSC file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
import torch
from torch import Tensor

from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.mask import auto_mask
from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import atomic_write
from blush.io.half_maps import read_half_maps
from blush.io.mrc import write_volume
from blush.io.star import write_star
from blush.validate.postprocess import Postprocessed, Sharpening, postprocess

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
        Maps that cannot be read, are one map, or differ in size or pixel size.
    """
    files = read_half_maps(half1, half2, mask.path, pixel_size_angst, even=False)
    (first, second), pixel = files.halves, files.pixel_size_angst
    solvent = _mask(mask, first, second, pixel) if files.mask is None else files.mask
    result = postprocess(first, second, pixel, solvent, seed, sharpening, randomise_from_fsc, force_mask)
    written = {"mask": solvent, "postprocess": result.map, "postprocess_masked": result.map * solvent}
    for name, volume in written.items():
        write_volume(folder / f"{name}.mrc", volume.numpy(), pixel, files.placement)
    write_fsc_xml(folder / "fsc.xml", result.curves.corrected.numpy(), first.shape[0] * pixel)
    names = (str(half1), str(half2), str(mask.path or folder / "mask.mrc"))
    write_star(folder / "postprocess.star", star_blocks(result, pixel, names), "Blush postprocess")
    return result


def _mask(source: MaskSource, first: Tensor, second: Tensor, pixel: float) -> Tensor:
    """A mask made from the average of the halves."""
    box = first.shape[0]
    unmasked = resolution_at(fsc(first, second), HALF_MAPS, box, pixel)
    lowpass = max(source.lowpass_angst, min(unmasked, box * pixel))
    diameter = source.particle_diameter_angst or 0.9 * box * pixel
    return auto_mask((first + second) / 2, pixel, diameter, lowpass, source.extend_px, source.edge_px)


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
        general["blushGuinierFitLowest"] = result.fit.lowest_angst
        general["blushGuinierFitHighest"] = result.fit.highest_angst
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
