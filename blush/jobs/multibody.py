"""The rounds of a run of several bodies: in turn, each makes an iteration of its own, until all have converged.

A body that has converged waits, its map and poses as they are, until all have; then each makes its last iteration, with
all that the images hold.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from blush.jobs import steps
from blush.jobs.body_runs import body_root, read_bodies
from blush.jobs.recover import recover


def bodies_of(run: Path) -> list[Path]:
    """Folders of the bodies that are refined, in their order."""
    return [body_root(run, index) for index, one in enumerate(read_bodies(run)) if one.refine]


def begin(run: Path) -> None:
    """Recover and start every body, those that are only subtracted too."""
    for index in range(len(read_bodies(run))):
        body = body_root(run, index)
        recover(body)
        steps.start(body)


def next_body(run: Path) -> tuple[Path, int] | None:
    """Folder of the body whose turn it is, and the number of its iteration; None once all have made their last."""
    waiting: list[tuple[int, Path]] = []
    open_ones: list[tuple[int, Path]] = []
    for body in bodies_of(run):
        state = steps.latest_state(body)
        if state is None:
            raise ValueError(f"{body} has not started")
        if not state.converged:
            (waiting if state.final else open_ones).append((state.iteration + 1, body))
    due = open_ones or waiting
    if not due:
        return None
    first = min(iteration for iteration, _ in due) if open_ones else due[0][0]
    return next((body, iteration) for iteration, body in due if iteration == first)


def refine_bodies(run: Path, iterate: Callable[[Path, int], object], after: Callable[[Path], None] | None) -> None:
    """All rounds, from whatever is on disk.

    Parameters
    ----------
    iterate
        Makes one iteration of one run.
    after
        Called with the folder of the whole after each.
    """
    begin(run)
    while (due := next_body(run)) is not None:
        iterate(*due)
        if after is not None:
            after(run)
    for body in bodies_of(run):
        steps.postprocess(body)
    steps.postprocess(run)
