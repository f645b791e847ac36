"""Model tables in RELION's layout: resolution spectra, noise and scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.refine import helix_star
from blush.refine.helix_star import HelixOptions
from blush.refine.state import RunFacts, State

Floats = NDArray[np.float64]
Blocks = dict[str, Mapping[str, Any]]

NOT_MEASURED = 999.0
"""What RELION writes for an accuracy or a resolution that it does not know."""

_PRIOR_ON_ROT_TILT_PSI = 2


@dataclass(frozen=True)
class ModelPart:
    """One half's side of a model, or the average of both.

    Parameters
    ----------
    map_names
        Map of each reference that the spectra belong to, as it is to be written.
    noise
        (optics groups, shells) variance per component.
    scale, particles_per_group, group_names, group_optics
        (groups,); the last is the optics group whose noise a group takes.
    tau2, sigma2_ref
        (references, shells)
    pdf_direction
        (references, directions) or None where directions are not given.
    tau2_fudge
        RELION's T.
    """

    map_names: tuple[str, ...]
    noise: Floats
    scale: Floats
    tau2: Floats
    sigma2_ref: Floats
    norm_average: float
    sigma_offset_angst: float
    log_likelihood: float
    average_pmax: float
    group_names: NDArray[np.object_]
    group_optics: NDArray[np.int64]
    particles_per_group: NDArray[np.int64]
    pdf_direction: Floats | None = field(default=None)
    tau2_fudge: float = 1.0


def model_blocks(
    used: State, state: State, part: ModelPart, noise_per_group: bool, helix: HelixOptions | None = None
) -> Blocks:
    """Blocks of a `_model.star`.

    Parameters
    ----------
    used, state
        State the iteration ran from, and the one it led to.
    noise_per_group
        Repeat the noise for every scale group, as RELION 3.1 reads it; later versions read it per optics group.
    helix
        Choices of a refinement of filaments; None: there are none.
    """
    blocks: Blocks = {
        "model_general": _general(used, state, part, helix),
        "model_classes": _classes(state, part),
        **{f"model_class_{k + 1}": _spectra(state, part, k) for k in range(len(part.map_names))},
        "model_groups": _groups(part),
    }
    for index, noise in enumerate(part.noise, start=1):
        blocks[f"model_optics_group_{index}"] = _noise(state.facts, noise)
    if noise_per_group:
        tables = [_noise(state.facts, noise) for noise in part.noise]
        for index, optics in enumerate(part.group_optics, start=1):
            blocks[f"model_group_{index}"] = tables[optics]
    if part.pdf_direction is not None:
        for k, pdf in enumerate(part.pdf_direction, start=1):
            blocks[f"model_pdf_orient_class_{k}"] = {"rlnOrientationDistribution": pdf}
    return blocks


def _general(used: State, state: State, part: ModelPart, helix: HelixOptions | None) -> dict[str, Any]:
    facts, search = state.facts, used.search
    sigma_deg = search.sigma_angle_deg if search.local else 0.0
    return {
        "rlnReferenceDimensionality": 3,
        "rlnDataDimensionality": 2,
        "rlnOriginalImageSize": facts.box_px,
        "rlnCurrentResolution": state.resolution_angst,
        "rlnCurrentImageSize": search.current_size_px,
        "rlnPaddingFactor": 2.0,
        **helix_star.general(state, helix),
        "rlnFourierSpaceInterpolator": 1,
        "rlnMinRadiusNnInterpolation": 10,
        "rlnPixelSize": facts.pixel_size_angst,
        "rlnNrClasses": len(part.map_names),
        "rlnNrBodies": 1,
        "rlnNrGroups": len(part.scale),
        "rlnNrOpticsGroups": facts.n_optics_groups,
        "rlnTau2FudgeFactor": part.tau2_fudge,
        "rlnNormCorrectionAverage": part.norm_average,
        "rlnSigmaOffsetsAngst": part.sigma_offset_angst,
        "rlnOrientationalPriorMode": _PRIOR_ON_ROT_TILT_PSI if search.local else 0,
        "rlnSigmaPriorRotAngle": sigma_deg,
        "rlnSigmaPriorTiltAngle": sigma_deg,
        "rlnSigmaPriorPsiAngle": sigma_deg,
        **helix_star.priors(state),
        "rlnLogLikelihood": part.log_likelihood,
        "rlnAveragePmax": part.average_pmax,
    }


def _classes(state: State, part: ModelPart) -> dict[str, Any]:
    references = state.references
    return {
        "rlnReferenceImage": np.array(part.map_names, dtype=object),
        "rlnClassDistribution": references.share,
        "rlnAccuracyRotations": np.array([known(value) for value in references.accuracy_rotation_deg]),
        "rlnAccuracyTranslationsAngst": np.array([known(value) for value in references.accuracy_offset_angst]),
        "rlnEstimatedResolution": references.resolution_angst,
        **helix_star.classes(state, len(part.map_names)),
    }


def known(value: float | None, mark: float = NOT_MEASURED) -> float:
    """A value, or RELION's mark for one that was not measured."""
    return mark if value is None else value


def _spectra(state: State, part: ModelPart, k: int) -> dict[str, Any]:
    return {
        **abscissa(state.facts),
        "rlnSsnrMap": state.references.ssnr[k],
        "rlnGoldStandardFsc": state.references.fsc[k],
        "rlnReferenceSigma2": part.sigma2_ref[k],
        "rlnReferenceTau2": part.tau2[k],
    }


def abscissa(facts: RunFacts) -> dict[str, Any]:
    """Shells as RELION counts them: index, frequency, resolution."""
    shell = np.arange(facts.n_shells)
    frequency = shell / (facts.box_px * facts.pixel_size_angst)
    resolution = np.divide(1.0, frequency, out=np.full(len(shell), NOT_MEASURED), where=shell > 0)
    return {"rlnSpectralIndex": shell, "rlnResolution": frequency, "rlnAngstromResolution": resolution}


def _noise(facts: RunFacts, noise: Floats) -> dict[str, Any]:
    shells = abscissa(facts)
    del shells["rlnAngstromResolution"]
    return {**shells, "rlnSigma2Noise": noise}


def _groups(part: ModelPart) -> dict[str, Any]:
    return {
        "rlnGroupNumber": np.arange(1, len(part.scale) + 1),
        "rlnGroupName": part.group_names,
        "rlnGroupNrParticles": part.particles_per_group,
        "rlnGroupScaleCorrection": part.scale,
    }
