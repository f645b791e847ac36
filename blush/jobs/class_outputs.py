"""RELION's tables after an iteration of a classification, from a run's files. No torch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.jobs.inputs import read_config, read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.jobs.outputs import imported_blocks, model_options
from blush.jobs.sealed import note
from blush.refine.class_outputs import write_class_outputs
from blush.refine.outputs import DirectionTable, OutputParticles
from blush.refine.state import State


def write_class_tables(
    root: Path,
    iteration: int,
    used: State,
    state: State,
    poses: dict[str, NDArray[Any]],
    measured: dict[str, NDArray[Any]],
) -> None:
    """Write and note the tables of an iteration.

    Parameters
    ----------
    used, state
        The state the iteration ran from, and the one it led to.
    measured
        Statistics of all images, for the directions searched and found.
    """
    table = OutputParticles(imported_blocks(root), read_frozen_particles(root), poses)
    listed, found = measured["directions_deg"], measured["directions"]
    if used.search.fixed:  # nothing is searched, but RELION goes on from a table of all directions only
        found = np.repeat(state.references.share / len(listed), len(listed))
    directions = DirectionTable(listed, found[None])
    config = read_config(root)
    fudge = config.classification.tau2_fudge if config.classification.prior == "spectrum" else 1.0
    options = replace(model_options(config, root), tau2_fudge=fudge)
    paths = write_class_outputs(root, used, state, table, directions, options)
    note(RunFolder(root), paths)
