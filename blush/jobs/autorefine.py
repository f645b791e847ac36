"""A whole refinement in one process: the steps that the workflow's rules call, in the same order."""

import sys
from collections.abc import Callable
from pathlib import Path

from blush.config import RunConfig
from blush.io.seal import DamagedFile
from blush.jobs import steps
from blush.jobs.multibody import refine_bodies
from blush.jobs.recover import recover
from blush.jobs.settings import take_up
from blush.refine.state import State

MOST_RECOVERIES = 3
"""A disk that damages files faster than this is not worth continuing on."""


def autorefine(config: RunConfig, after_iteration: Callable[[Path], None] | None = None) -> Path:
    """Refine until converged, from whatever is on disk, and postprocess.

    What it is doing stands in the progress log of the run folder.

    Parameters
    ----------
    after_iteration
        Called with the run's folder after every iteration but the last.

    Returns
    -------
    The run folder.
    """
    run = config.run_dir.absolute()
    for attempt in range(MOST_RECOVERIES + 1):
        if not take_up(config):
            steps.import_run(config)
        try:
            if config.job == "multibody":
                refine_bodies(run, iterate, after_iteration)
            else:
                _refine(run, after_iteration)
            break
        except DamagedFile as damage:
            if attempt == MOST_RECOVERIES:
                raise
            sys.stderr.write(f"blush: warning: {damage}\n")
    return run


def _refine(run: Path, after_iteration: Callable[[Path], None] | None) -> None:
    """A run of one component, from whatever is on disk."""
    recover(run)
    steps.start(run)
    state = steps.latest_state(run)
    while state is not None and not state.converged:
        state = iterate(run, state.iteration + 1)
        if after_iteration is not None and not state.converged:
            after_iteration(run)
    steps.postprocess(run)


def iterate(run: Path, iteration: int) -> State:
    """One iteration: all subsets' shards and sums, new references, new state."""
    for subset in steps.subsets(run):
        for shard in steps.missing_shards(run, iteration, subset):
            steps.expectation_shard(run, iteration, subset, shard)
        steps.reduce_subset(run, iteration, subset)
    steps.denoise_and_trail(run, iteration)
    return steps.converge(run, iteration)
