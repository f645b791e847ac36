"""RELION's tables after an iteration, from a run's files. No torch here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.io.filaments import units_per_segment
from blush.io.particle_columns import NUMERIC_COLUMNS
from blush.io.star import Table, read_star
from blush.jobs.inputs import read_config, read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked, content_digest, note
from blush.refine.control_star import ModelOptions
from blush.refine.helix_star import HelixOptions
from blush.refine.outputs import DirectionTable, OutputParticles, write_iteration_outputs
from blush.refine.state import State


@lru_cache(maxsize=2)
def _blocks(root: Path, _content: str) -> dict[str, Table]:
    return read_star(RunFolder(root).imported / "particles.star", NUMERIC_COLUMNS)


def imported_blocks(root: Path) -> dict[str, Table]:
    """The particle table as it was imported, column for column."""
    folder = RunFolder(root)
    path = checked(folder, folder.imported / "particles.star")
    return _blocks(root, content_digest(path))


def write_outputs(
    root: Path,
    iteration: int,
    used: State,
    state: State,
    poses: dict[str, NDArray[Any]],
    measured: list[dict[str, NDArray[Any]]],
) -> None:
    """Write and note the `_data`, `_model`, `_sampling` and `_optimiser` tables of an iteration, or of the whole run.

    Parameters
    ----------
    used, state
        The state the iteration ran from, and the one it led to.
    measured
        Statistics of both halves, for the directions searched and found.
    """
    prefix = "run" if used.final else f"run_it{iteration:03d}"
    table = OutputParticles(imported_blocks(root), read_frozen_particles(root), poses)
    directions = DirectionTable(measured[0]["directions_deg"], np.stack([half["directions"] for half in measured]))
    paths = write_iteration_outputs(
        root,
        prefix,
        used,
        replace(state, iteration=iteration),
        table,
        directions,
        model_options(read_config(root), root),
    )
    note(RunFolder(root), paths)


def model_options(config: RunConfig, root: Path) -> ModelOptions:
    """What RELION's optimiser table repeats of the configuration."""
    refinement = config.refinement
    return ModelOptions(
        low_resolution_join_angst=refinement.low_resolution_join_angst,
        solvent_mask=str(RunFolder(root).imported / "mask.mrc") if isinstance(config.mask, Path) else None,
        solvent_correct_fsc=refinement.solvent_correct_fsc and isinstance(config.mask, Path),
        norm_correction=refinement.norm_correction,
        scale_correction=refinement.scale_correction,
        helix=_helix_options(config, root),
    )


def _helix_options(config: RunConfig, root: Path) -> HelixOptions | None:
    """Of a refinement of filaments; none of another."""
    settings = config.helix
    if settings.rise_angst is None or settings.tube_diameter_angst is None or config.job != "helix":
        return None
    given, particles = settings.units_per_segment, read_frozen_particles(root)
    return HelixOptions(
        units_per_segment(particles, settings.rise_angst) if given is None else given,
        settings.rise_range_angst,
        settings.twist_range_deg,
        settings.central_fraction,
        settings.tube_diameter_angst,
        settings.tube_inner_diameter_angst,
        settings.impose_symmetry,
    )
