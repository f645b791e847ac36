"""The STAR files of an iteration of a classification, in the layout of RELION 3.1: `run_itNNN_data.star` and more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blush.io.star import write_star
from blush.refine.angular_distribution import write_angular_distribution
from blush.refine.control_star import Blocks, ModelOptions, common_flags, sampling_blocks
from blush.refine.data_star import data_blocks
from blush.refine.model_star import known, model_blocks
from blush.refine.outputs import DirectionTable, OutputParticles, model_part, named
from blush.refine.schedule import FIRST_INCREMENT_SHELLS
from blush.refine.state import State


def write_class_outputs(
    run: Path,
    used: State,
    state: State,
    table: OutputParticles,
    directions: DirectionTable | None,
    options: ModelOptions,
) -> list[Path]:
    """Write `_data`, `_model`, `_sampling`, `_optimiser.star` and a `.bild` of the viewing directions of every class.

    Parameters
    ----------
    used, state
        State the iteration ran from, and the one it led to.
    directions
        Where images are searched.

    Returns
    -------
    The files, each complete or absent.
    """
    prefix = f"run_it{state.iteration:03d}"
    base = (named(run) / prefix).as_posix()
    classes = range(1, len(state.references.share) + 1)
    maps = tuple(f"{base}_class{k:03d}.mrc" for k in classes)
    part = model_part(state, table, np.ones(len(table.particles), bool), [0], maps, directions)
    part = replace(part, tau2_fudge=options.tau2_fudge)
    listed = directions.directions_deg if directions is not None else None
    contents: dict[str, Mapping[str, Mapping[str, Any]]] = {
        f"{prefix}_data.star": data_blocks(table.blocks, table.particles, table.poses),
        f"{prefix}_model.star": model_blocks(used, state, part, noise_per_group=True),
        f"{prefix}_sampling.star": sampling_blocks(used, listed),
        f"{prefix}_optimiser.star": _optimiser(used, state, run, options),
    }
    for name, blocks in contents.items():
        write_star(run / name, blocks, comment="written by Blush in the layout of RELION 3.1")
    figures = []
    for k in classes:
        rows = table.poses["class_number"] == k
        path = run / f"{prefix}_class{k:03d}_angdist.bild"
        rot_deg, tilt_deg = (table.poses[name][rows] for name in ("rot_deg", "tilt_deg"))
        write_angular_distribution(path, rot_deg, tilt_deg, state.facts.box_px, state.facts.pixel_size_angst)
        figures.append(path)
    return [*(run / name for name in contents), *figures]


def _optimiser(used: State, state: State, run: Path, options: ModelOptions) -> Blocks:
    """Block of an `_optimiser.star` from which RELION's classification goes on."""
    base = (named(run) / f"run_it{state.iteration:03d}").as_posix()
    pointers = {
        "rlnOutputRootName": (named(run) / "run").as_posix(),
        "rlnModelStarFile": f"{base}_model.star",
        "rlnExperimentalDataStarFile": f"{base}_data.star",
        "rlnOrientSamplingStarFile": f"{base}_sampling.star",
    }
    flags = {
        "rlnDoSplitRandomHalves": 0,
        "rlnJoinHalvesUntilThisResolution": -1.0,
        "rlnDoSolventFscCorrection": 0,
        "rlnHighresLimitExpectation": -1.0,
        "rlnIncrementImageSize": FIRST_INCREMENT_SHELLS,
        "rlnDoAutoRefine": 0,
        "rlnDoSkipAlign": int(used.search.fixed),
        "rlnAdaptiveOversampleOrder": 0 if used.search.fixed else used.search.oversampling,
    }
    counters = {
        "rlnNumberOfIterWithoutResolutionGain": 0,
        "rlnBestResolutionThusFar": 1 / state.resolution_angst,
        "rlnNumberOfIterWithoutChangingAssignments": 0,
        "rlnSmallestChangesOrientations": known(state.change_rotation_deg),
        "rlnSmallestChangesOffsets": known(state.change_offset_angst),
        "rlnSmallestChangesClasses": 0,
        "rlnHasConverged": 0,
        "rlnHasHighFscAtResolLimit": 0,
        "rlnHasLargeSizeIncreaseIterationsAgo": 0,
    }
    changes = {
        "rlnOverallAccuracyRotations": known(state.references.best_accuracy_rotation_deg),
        "rlnOverallAccuracyTranslationsAngst": known(state.references.best_accuracy_offset_angst),
        "rlnChangesOptimalOrientations": known(state.change_rotation_deg),
        "rlnChangesOptimalOffsets": known(state.change_offset_angst),
        "rlnChangesOptimalClasses": known(state.change_class),
    }
    return {"optimiser_general": {**pointers, **common_flags(used, state, options), **flags, **counters, **changes}}
