"""Sampling and optimiser tables in RELION's layout: what was searched, and what the control of the iterations knew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.refine import helix_star
from blush.refine.control import RefineControl
from blush.refine.helix_star import HelixOptions
from blush.refine.model_star import known
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State

Blocks = dict[str, Mapping[str, Any]]
_NO_CLASS_CHANGE_YET = 9999999


def sampling_blocks(used: State, directions_deg: NDArray[np.float64] | None) -> Blocks:
    """Blocks of a `_sampling.star`.

    Parameters
    ----------
    used
        State that the iteration ran from.
    directions_deg
        (directions, 2) rot and tilt of the grid, if they are to be listed.
    """
    search, control = used.search, used.control
    blocks: Blocks = {
        "sampling_general": {
            "rlnIs3DSampling": 1,
            "rlnIs3DTranslationalSampling": 0,
            "rlnHealpixOrder": search.healpix_order,
            "rlnSymmetryGroup": used.facts.symmetry,
            "rlnTiltAngleLimit": -91.0,
            "rlnPsiStep": angular_step_deg(search.healpix_order),
            "rlnOffsetRange": search.offset_range_angst,
            "rlnOffsetStep": search.offset_step_angst,
            "rlnHelicalOffsetStep": -1.0,
            "rlnSamplingPerturbInstance": search.perturbation,
            "rlnSamplingPerturbFactor": control.settings.perturbation_factor,
            "rlnHealpixOrderOriginal": control.initial_healpix_order,
            "rlnPsiStepOriginal": angular_step_deg(control.initial_healpix_order),
            "rlnOffsetStepOriginal": control.initial_offset_step_angst,
        }
    }
    if directions_deg is not None:
        blocks["sampling_directions"] = {
            "rlnAngleRot": directions_deg[:, 0],
            "rlnAngleTilt": directions_deg[:, 1],
        }
    return blocks


@dataclass(frozen=True)
class OptimiserFiles:
    """Names by which an optimiser table points to the others of its iteration."""

    root: str
    model_half1: str
    model_half2: str
    data: str
    sampling: str


@dataclass(frozen=True)
class ModelOptions:
    """Choices of the configuration that an optimiser table repeats."""

    low_resolution_join_angst: float = 40.0
    solvent_mask: str | None = None
    solvent_correct_fsc: bool = False
    norm_correction: bool = True
    scale_correction: bool = True
    tau2_fudge: float = 1.0
    helix: HelixOptions | None = None


def optimiser_blocks(used: State, state: State, files: OptimiserFiles, options: ModelOptions) -> Blocks:
    """Block of an `_optimiser.star`: pointers, flags, counters, accuracies and changes."""
    return {
        "optimiser_general": {
            **_pointers(files),
            **common_flags(used, state, options),
            **_flags(state, options),
            **_counters(state),
        }
    }


def _pointers(files: OptimiserFiles) -> dict[str, Any]:
    return {
        "rlnOutputRootName": files.root,
        "rlnModelStarFile": files.model_half1,
        "rlnModelStarFile2": files.model_half2,
        "rlnExperimentalDataStarFile": files.data,
        "rlnOrientSamplingStarFile": files.sampling,
    }


def _flags(state: State, options: ModelOptions) -> dict[str, Any]:
    """What only refinements in two halves have."""
    control = state.control_of(RefineControl)
    return {
        "rlnDoSplitRandomHalves": 1,
        "rlnJoinHalvesUntilThisResolution": options.low_resolution_join_angst,
        "rlnDoSolventFscCorrection": int(options.solvent_correct_fsc),
        "rlnHighresLimitExpectation": -1.0,
        "rlnIncrementImageSize": control.increment_shells,
        "rlnDoAutoRefine": 1,
        "rlnDoSkipAlign": 0,
    }


def common_flags(used: State, state: State, options: ModelOptions) -> dict[str, Any]:
    """What the optimiser tables of all jobs have."""
    settings = state.control.settings
    return {
        "rlnCurrentIteration": state.iteration,
        "rlnNumberOfIterations": settings.max_iterations,
        "rlnAdaptiveOversampleOrder": used.search.oversampling,
        "rlnAdaptiveOversampleFraction": 0.999,
        "rlnRandomSeed": state.facts.seed,
        "rlnParticleDiameter": state.facts.particle_diameter_angst,
        "rlnWidthMaskEdge": 5,
        "rlnDoZeroMask": 1,
        "rlnDoSolventFlattening": 1,
        "rlnSolventMaskName": options.solvent_mask or "None",
        "rlnSolventMask2Name": "None",
        "rlnBodyStarFile": "None",
        "rlnTauSpectrumName": "None",
        "rlnMaximumCoarseImageSize": -1,
        "rlnLowresLimitExpectation": -1.0,
        "rlnDoMapEstimation": 1,
        "rlnAutoLocalSearchesHealpixOrder": settings.local_from_order,
        "rlnDoSkipRotate": 0,
        **helix_star.flags(state, options.helix),
        "rlnDoCorrectNorm": int(options.norm_correction),
        "rlnDoCorrectScale": int(options.scale_correction),
        "rlnDoCorrectCtf": 1,
        "rlnDoIgnoreCtfUntilFirstPeak": 0,
        "rlnCtfDataArePhaseFlipped": 0,
        "rlnDoOnlyFlipCtfPhases": 0,
        "rlnRefsAreCtfCorrected": 1,
        "rlnFixSigmaNoiseEstimates": 0,
        "rlnFixSigmaOffsetEstimates": 0,
        "rlnMaxNumberOfPooledParticles": 1,
    }


def _counters(state: State) -> dict[str, Any]:
    control, references = state.control_of(RefineControl), state.references
    smallest = control.smallest_changes
    return {
        "rlnNumberOfIterWithoutResolutionGain": control.no_resolution_gain,
        "rlnBestResolutionThusFar": 1 / control.best_resolution_angst,
        "rlnNumberOfIterWithoutChangingAssignments": control.no_large_changes,
        "rlnOverallAccuracyRotations": known(references.best_accuracy_rotation_deg),
        "rlnOverallAccuracyTranslationsAngst": known(references.best_accuracy_offset_angst),
        "rlnChangesOptimalOrientations": known(state.change_rotation_deg),
        "rlnChangesOptimalOffsets": known(state.change_offset_angst),
        "rlnChangesOptimalClasses": known(state.change_class),
        "rlnSmallestChangesOrientations": known(smallest.rotation_deg),
        "rlnSmallestChangesOffsets": known(smallest.offset_angst),
        "rlnSmallestChangesClasses": int(known(smallest.class_fraction, _NO_CLASS_CHANGE_YET)),
        "rlnHasConverged": int(state.converged),
        "rlnHasHighFscAtResolLimit": int(control.high_fsc_at_limit),
        "rlnHasLargeSizeIncreaseIterationsAgo": 0,
    }
