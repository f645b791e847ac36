"""A whole refinement in one process: the steps that the workflow's rules call, in the same order."""

from pathlib import Path

from blush.config import RunConfig
from blush.jobs import steps
from blush.jobs.settings import take_up
from blush.refine.state import RefinementState
from blush.refine.subset import Subset


def autorefine(config: RunConfig) -> Path:
    """Refine until converged, from whatever is on disk, and postprocess.

    What it is doing stands in the progress log of the run folder.

    Returns
    -------
    The run folder.
    """
    run = config.run_dir.absolute()
    if not take_up(config):
        steps.import_run(config)
    steps.start(run)
    state = steps.latest_state(run)
    while state is not None and not state.converged:
        state = iterate(run, state.iteration + 1)
    steps.postprocess(run)
    return run


def iterate(run: Path, iteration: int) -> RefinementState:
    """One iteration: both halves' shards and sums, new references, new state."""
    for half in Subset:
        for shard in steps.missing_shards(run, iteration, half):
            steps.expectation_shard(run, iteration, half, shard)
        steps.reduce_half(run, iteration, half)
    steps.denoise_and_trail(run, iteration)
    return steps.converge(run, iteration)
