"""From two unfiltered half-maps to a resolution and a sharpened map (docs/algorithm.md, section 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.fsc import last_shell_above, resolution_at
from blush.fourier.grid import radius_3d, resolution_angst, shell_index_3d
from blush.fourier.thresholds import HALF_MAPS
from blush.validate.half_map_doubts import half_map_doubts
from blush.validate.phase_randomise import MaskedFsc, masked_fsc, solvent_corrected_fsc
from blush.validate.sharpen import (
    GuinierFit,
    bfactor_weight,
    fit_guinier,
    fsc_weight,
    inverse_square_resolution,
    log_amplitudes,
    mtf_response,
)

__all__ = ["Postprocessed", "Sharpening", "postprocess", "solvent_corrected_fsc"]

RANDOMISED_LIMIT = 0.1
"""FSC of phase-randomised halves above which, at the resolution, the mask is suspect."""
PARTICLE_FRACTION = 0.476
"""Share of the box assumed to hold ordered density, over that of the mask, as RELION has it."""


@dataclass(frozen=True)
class Sharpening:
    """How the final map is filtered.

    Parameters
    ----------
    adhoc_bfactor_angst2
        B-factor instead of the fitted one; negative sharpens.
    autob_lowres_angst, autob_highres_angst
        Range of the Guinier fit. The high end is the resolution where it is None: beyond it the amplitudes are those of
        the FSC weight, whose fall would pass for a B-factor; and the last shell is left out, of which the sphere of
        Nyquist cuts half away. 0 is Nyquist with that shell, RELION's default.
    lowpass_angst
        Further low-pass filter with an edge of 2 shells.
    mtf_frequency, mtf_value
        Detector response over cycles per pixel of the micrograph.
    original_pixel_size_angst
        Pixel size of the micrographs that the response belongs to.
    """

    adhoc_bfactor_angst2: float | None = None
    autob_lowres_angst: float = 10.0
    autob_highres_angst: float | None = None
    fsc_weighting: bool = True
    lowpass_angst: float | None = None
    mtf_frequency: Tensor | None = None
    mtf_value: Tensor | None = None
    original_pixel_size_angst: float | None = None


@dataclass(frozen=True)
class Postprocessed:
    """Result of `postprocess`.

    A resolution is that of the last shell before a curve first falls below the threshold, as in RELION: the finest
    shell that is resolved, and never a value between shells.

    Attributes
    ----------
    map
        Sharpened, FSC-weighted average of the halves, not masked.
    curves
        All FSC curves; where the mask was ignored, `corrected` is the unmasked one.
    resolution_angst
        Where `corrected` first falls below 0.143; infinite where nothing is resolved.
    guinier
        1/d² and ln<|F|> of the average: original, mtf_corrected, weighted, sharpened.
    particle_fraction
        Assumed share of ordered density over that of the mask.
    warnings
        What the user should look at.
    """

    map: Tensor
    pixel_size_angst: float
    curves: MaskedFsc
    resolution_angst: float
    unmasked_resolution_angst: float
    mask_used: bool
    bfactor_angst2: float
    fit: GuinierFit | None
    guinier: dict[str, Tensor]
    particle_fraction: float
    warnings: tuple[str, ...]

    @property
    def bfactor_told(self) -> str:
        """The B-factor, and the range that it was fitted in."""
        text = f"{self.bfactor_angst2:.1f} Å²"
        if self.fit is None or self.bfactor_angst2 != self.fit.bfactor_angst2:
            return text
        return f"{text} (Guinier fit from {self.fit.lowest_angst:.2f} to {self.fit.highest_angst:.2f} Å)"


def postprocess(
    half1: Tensor,
    half2: Tensor,
    pixel_size_angst: float,
    mask: Tensor,
    seed: int,
    sharpening: Sharpening | None = None,
    randomise_from_fsc: float = 0.8,
    force_mask: bool = False,
) -> Postprocessed:
    """Measure the resolution of two half-maps and make the final map.

    Parameters
    ----------
    half1, half2
        (N, N, N) unregularised, unmasked halves.
    mask
        (N, N, N) in [0, 1]; all ones for none.
    seed
        That of the random phases.
    force_mask
        Keep the mask even where the unmasked FSC gives a better resolution.
    """
    sharpening = sharpening or Sharpening()
    box = half1.shape[-1]
    curves = masked_fsc(half1, half2, mask, seed, randomise_from_fsc)
    unmasked = resolution_at(curves.unmasked, HALF_MAPS, box, pixel_size_angst)
    resolution = resolution_at(curves.corrected, HALF_MAPS, box, pixel_size_angst)
    mask_used = force_mask or resolution <= unmasked
    warnings = half_map_doubts(half1, half2, pixel_size_angst)
    if not mask_used:
        warnings.append(f"the mask was ignored: it gives {resolution:.2f} Å, the unmasked maps {unmasked:.2f} Å")
        resolution = unmasked
        curves = MaskedFsc(curves.unmasked, curves.masked, curves.randomised, curves.unmasked, curves.randomise_from)
    warnings += _suspect_mask(curves) if mask_used else []
    sharpening = _with_range(sharpening, max(resolution, resolution_angst(box // 2 - 1, box, pixel_size_angst)))
    spectrum, bfactor, fit, guinier = _sharpen(half1, half2, pixel_size_angst, curves.corrected, sharpening)
    warnings += _doubtful_bfactor(sharpening, fit)
    inside = float((mask > 0.5).double().mean())
    return Postprocessed(
        map=torch.fft.irfftn(spectrum, s=half1.shape),
        pixel_size_angst=pixel_size_angst,
        curves=curves,
        resolution_angst=resolution,
        unmasked_resolution_angst=unmasked,
        mask_used=mask_used,
        bfactor_angst2=bfactor,
        fit=fit,
        guinier=guinier,
        particle_fraction=PARTICLE_FRACTION / inside if inside > 0 else float("inf"),
        warnings=tuple(warnings),
    )


def _suspect_mask(curves: MaskedFsc) -> list[str]:
    """What the random phases say about the mask at the resolution it gave."""
    shell = last_shell_above(curves.corrected, HALF_MAPS)
    if curves.randomise_from is None or shell < curves.randomise_from + 2:
        return []
    value = float(curves.randomised[shell])
    if value <= RANDOMISED_LIMIT:
        return []
    return [f"phase-randomised maps correlate {value:.2f} at the resolution: the mask is too tight or too sharp"]


def _with_range(sharpening: Sharpening, end_angst: float) -> Sharpening:
    """The high end of the Guinier fit as a number, where none is asked for."""
    if sharpening.autob_highres_angst is not None:
        return sharpening
    return replace(sharpening, autob_highres_angst=end_angst)


def _doubtful_bfactor(sharpening: Sharpening, fit: GuinierFit | None) -> list[str]:
    if sharpening.adhoc_bfactor_angst2 is not None:
        return []
    if fit is None:
        highres = sharpening.autob_highres_angst
        end = f"{highres:.2f} Å" if highres else "Nyquist"
        return [
            f"fewer than three shells from {sharpening.autob_lowres_angst:g} Å to {end} for a Guinier fit: the map was "
            "not sharpened; raise autob_lowres_angst (--autob-lowres), or give a B-factor"
        ]
    if fit.bfactor_angst2 > 0:
        return [f"the fitted B-factor is positive, {fit.bfactor_angst2:.0f} Å²: it smooths the map"]
    return []


def _sharpen(
    half1: Tensor, half2: Tensor, pixel_size_angst: float, corrected: Tensor, sharpening: Sharpening
) -> tuple[Tensor, float, GuinierFit | None, dict[str, Tensor]]:
    """Transform of the final map, its B-factor, and the Guinier plot of each step."""
    box = half1.shape[-1]
    radius = radius_3d(box, half1.device)
    frequency = radius / (box * pixel_size_angst)
    spectrum = torch.fft.rfftn((half1 + half2) / 2)
    plot = {"inverse_d2": inverse_square_resolution(box, pixel_size_angst), "original": log_amplitudes(spectrum, box)}
    spectrum = torch.where(radius <= box / 2, spectrum, 0)  # like RELION: the last shell ends at Nyquist itself
    if sharpening.mtf_value is not None:
        spectrum = spectrum / _detector(sharpening, frequency).to(half1.dtype)
        plot["mtf_corrected"] = log_amplitudes(spectrum, box)
    weight = fsc_weight(corrected) if sharpening.fsc_weighting else torch.ones_like(corrected)
    spectrum = spectrum * _by_shell(weight, box, half1)
    plot["weighted"] = log_amplitudes(spectrum, box)
    highres = sharpening.autob_highres_angst or 0.0
    fit = fit_guinier(plot["weighted"].cpu(), plot["inverse_d2"], sharpening.autob_lowres_angst, highres)
    automatic = fit.bfactor_angst2 if fit else 0.0
    bfactor = automatic if sharpening.adhoc_bfactor_angst2 is None else sharpening.adhoc_bfactor_angst2
    spectrum = spectrum * bfactor_weight(frequency, bfactor).to(half1.dtype)
    if sharpening.lowpass_angst is not None:
        shell = box * pixel_size_angst / sharpening.lowpass_angst
        spectrum = spectrum * raised_cosine(radius, shell, 2).to(half1.dtype)
    plot["sharpened"] = log_amplitudes(spectrum, box)
    return spectrum, bfactor, fit, plot


def _detector(sharpening: Sharpening, frequency: Tensor) -> Tensor:
    if sharpening.mtf_frequency is None or sharpening.mtf_value is None:
        raise ValueError("a detector response needs both frequencies and values")
    if sharpening.original_pixel_size_angst is None:
        raise ValueError("a detector response needs the pixel size of the micrographs, original_pixel_size_angst")
    return mtf_response(frequency, sharpening.original_pixel_size_angst, sharpening.mtf_frequency, sharpening.mtf_value)


def _by_shell(weight: Tensor, box: int, like: Tensor) -> Tensor:
    """The weight of every coefficient from that of its shell, 0 in the corners."""
    padded = torch.cat([weight, weight.new_zeros(1)]).to(like)
    return padded[shell_index_3d(box, like.device).clamp_max(len(weight))]
