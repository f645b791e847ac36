"""Which maps the images of a run are compared with, and which an iteration makes."""

from __future__ import annotations

from pathlib import Path

from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.refine.control import ClassifyControl
from blush.refine.state import State
from blush.refine.subset import Subset


def n_references(state: State) -> int:
    """How many references compete for each image of a subset."""
    return len(state.references.share)


def leaves_folds_out(folder: RunFolder, n: int) -> bool:
    """Whether images are compared with references of iteration n that were made without their fold."""
    return n > 0 and read_plan(folder.root).n_folds > 1


def references_for(folder: RunFolder, state: State, subset: Subset, fold: int) -> tuple[Path, ...]:
    """The references that images of a fold are compared with in the iteration after `state`, one map each."""
    without = fold if leaves_folds_out(folder, state.iteration) else None
    count = n_references(state)
    return tuple(folder.map(state.iteration, subset, "reference", k, without) for k in range(count))


def fields_of(folder: RunFolder, n: int, state: State, count: int | None = None) -> tuple[Path, ...]:
    """What iteration n leaves for all later ones to expect of classes; nothing but in the one that makes the first.

    Parameters
    ----------
    count
        Classes; None: as many as `state` has references.
    """
    if not isinstance(state.control, ClassifyControl) or not 0 < n == state.control.splits_at:
        return ()
    return tuple(folder.field(n, k) for k in range(n_references(state) if count is None else count))


def maps_of(folder: RunFolder, n: int, state: State, *, final: bool, count: int | None = None) -> tuple[Path, ...]:
    """Every map that iteration n makes.

    Parameters
    ----------
    state
        The one before the iteration, or after it.
    final
        Whether n is the last iteration.
    count
        References that it makes; None: as many as `state` has.
    """
    plan, references = read_plan(folder.root), n_references(state) if count is None else count
    if final and state.control.JOINS_LAST:
        return folder.final_maps(plan.subsets, references)
    left_out = (None, *(range(plan.n_folds) if leaves_folds_out(folder, n) else ()))
    return tuple(
        folder.map(n, subset, "reference", k, without)
        for without in left_out
        for subset in plan.subsets
        for k in range(references)
    )
