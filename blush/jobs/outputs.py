"""RELION's tables after an iteration, from a run's files. No torch here."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from blush.io.star import Table, read_star
from blush.jobs.inputs import read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.refine.outputs import OutputParticles, write_iteration_outputs
from blush.refine.state import RefinementState


@lru_cache(maxsize=2)
def _blocks(root: Path) -> dict[str, Table]:
    return read_star(RunFolder(root).imported / "particles.star")


def write_outputs(
    root: Path, iteration: int, used: RefinementState, state: RefinementState, poses: dict[str, NDArray[Any]]
) -> None:
    """Write the `_data`, `_model`, `_sampling` and `_optimiser` tables of an iteration, or of the whole run."""
    prefix = "run" if used.final else f"run_it{iteration:03d}"
    table = OutputParticles(_blocks(root), read_frozen_particles(root), poses)
    write_iteration_outputs(root, prefix, used, replace(state, iteration=iteration), table)
