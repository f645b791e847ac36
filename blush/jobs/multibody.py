"""The rounds of a run of several bodies: in turn, each makes an iteration of its own, until all have converged.

A body that has converged waits, its map and poses as they are, until all have; then each makes its last iteration, with
all that the images hold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from blush.jobs import steps
from blush.jobs.body_runs import body_root, read_bodies
from blush.jobs.recover import recover_run


def bodies_of(run: Path) -> list[Path]:
    """Folders of the bodies that are refined, in their order."""
    return [body_root(run, index) for index, one in enumerate(read_bodies(run)) if one.refine]


def begin(run: Path) -> None:
    """Recover and start every body, those that are only subtracted too."""
    recover_run(run)
    for index in range(len(read_bodies(run))):
        steps.start(body_root(run, index))


@dataclass(frozen=True)
class Reached:
    """How far a body is: its last iteration, and what its state says of the next."""

    iteration: int
    final: bool
    converged: bool


def next_body(run: Path) -> tuple[Path, int] | None:
    """Folder of the body whose turn it is, and the number of its iteration; None once all have made their last."""
    bodies, reached = bodies_of(run), []
    for body in bodies:
        state = steps.latest_state(body)
        if state is None:
            raise ValueError(f"{body} has not started")
        reached.append(Reached(state.iteration, state.final, state.converged))
    turn = whose_turn(reached)
    return None if turn is None else (bodies[turn], reached[turn].iteration + 1)


def whose_turn(bodies: Sequence[Reached]) -> int | None:
    """Index of the body that makes the next iteration: the first of those that are least far and do not wait.

    Where all wait, they make their last iterations in their order; None once all have.
    """
    due = [index for index, one in enumerate(bodies) if not (one.converged or one.final)]
    if due:
        return min(due, key=lambda index: bodies[index].iteration)
    return next((index for index, one in enumerate(bodies) if not one.converged), None)


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
