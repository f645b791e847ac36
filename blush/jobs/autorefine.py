"""A whole refinement in one process: the steps that the workflow's rules call, in the same order."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blush.config import RunConfig
from blush.jobs import steps
from blush.jobs.settings import take_up
from blush.refine.state import RefinementState


@dataclass(frozen=True)
class Event:
    """What a refinement is doing.

    Parameters
    ----------
    iteration
        The one under way; 0 before the first, and after the last the number of that.
    stage
        Name of the step that begins, or "converge" when an iteration has ended.
    done, total
        Shards of the iteration; 0 of 0 outside the expectation step.
    state
        Latest state; None before the start.
    """

    iteration: int
    stage: str
    state: RefinementState | None = None
    done: int = 0
    total: int = 0


Notify = Callable[[Event], None]


def autorefine(config: RunConfig, notify: Notify = lambda event: None) -> Path:
    """Refine until converged, from whatever is on disk, and postprocess.

    Returns
    -------
    The run folder.
    """
    run = config.run_dir.absolute()
    notify(Event(0, "import"))
    if not take_up(config):
        steps.import_run(config)
    notify(Event(0, "start"))
    steps.start(run)
    state = steps.latest_state(run)
    assert state is not None  # start has written it
    while not state.converged:
        state = iterate(run, state, notify)
    notify(Event(state.iteration, "postprocess", state))
    steps.postprocess(run)
    return run


def iterate(run: Path, state: RefinementState, notify: Notify) -> RefinementState:
    """One iteration: both halves' shards and sums, new references, new state."""
    n = state.iteration + 1
    counts = {half: steps.shards(run, half) for half in (1, 2)}
    missing = [(half, shard) for half in counts for shard in steps.missing_shards(run, n, half)]
    total = sum(counts.values())
    for index, (half, shard) in enumerate(missing):
        notify(Event(n, "expectation", state, total - len(missing) + index, total))
        steps.expectation_shard(run, n, half, shard)
    for half in counts:
        notify(Event(n, "reduce", state, total, total))
        steps.reduce_half(run, n, half)
    notify(Event(n, "regularise", state, total, total))
    steps.denoise_and_trail(run, n)
    after = steps.converge(run, n)
    notify(Event(n, "converge", after, total, total))
    return after
