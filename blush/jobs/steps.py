"""Every step of a refinement as a function of its run folder: what the rules and `blush refine` call.

A step reads files, writes its results beside and renames them, and does nothing where they are there already; so a
run that was killed anywhere continues with the same bytes. torch is imported by the steps that compute, not here.
"""

from __future__ import annotations

from pathlib import Path

from blush.config import RunConfig
from blush.jobs import inputs
from blush.jobs.inputs import read_config, read_plan
from blush.jobs.job_steps import step_of
from blush.jobs.layout import RunFolder
from blush.jobs.mend import mending
from blush.jobs.sealed import kept
from blush.jobs.shards import missing_shards as missing
from blush.refine.state import State
from blush.refine.subset import Subset

__all__ = [
    "converge", "denoise_and_trail", "expectation_shard", "import_run", "latest_state", "missing_shards",
    "postprocess", "read_config", "reduce_subset", "shards", "start", "subsets",
]  # fmt: skip


def import_run(config: RunConfig) -> Path:
    """Check every input and freeze it in RUN/import."""
    from blush.jobs.importing import import_run as step

    return step(config)


def start(run: Path) -> Path:
    """Iteration 0: noise, references, state."""
    path: Path = mending(run.absolute(), lambda: step_of(run.absolute(), "start")(run.absolute()))
    return path


def subsets(run: Path) -> tuple[Subset, ...]:
    """The subsets that a run divides its images into."""
    return mending(run.absolute(), lambda: read_plan(run.absolute())).subsets


def shards(run: Path, subset: int) -> int:
    """Number of shards of a subset, which is given by its number, here as in all steps."""
    return mending(run.absolute(), lambda: read_plan(run.absolute())).n_shards(Subset(subset))


def expectation_shard(run: Path, iteration: int, subset: int, shard: int) -> Path:
    """Expectation step of one shard."""
    from blush.jobs.expect import expectation_shard as step

    return mending(run.absolute(), lambda: step(run.absolute(), iteration, Subset(subset), shard))


def reduce_subset(run: Path, iteration: int, subset: int) -> Path:
    """Sum a subset's shards into D and W."""
    from blush.jobs.reduce import reduce_subset as step

    return mending(run.absolute(), lambda: step(run.absolute(), iteration, Subset(subset)))


def denoise_and_trail(run: Path, iteration: int) -> Path:
    """FSC, spectra, regularised references; the final maps after the last iteration."""
    path: Path = mending(run.absolute(), lambda: step_of(run.absolute(), "maps")(run.absolute(), iteration))
    return path


def converge(run: Path, iteration: int) -> State:
    """State of the next iteration, or the end."""
    state: State = mending(run.absolute(), lambda: step_of(run.absolute(), "converge")(run.absolute(), iteration))
    return state


def missing_shards(run: Path, iteration: int, subset: int) -> list[int]:
    """Shards of a subset that are still to be computed; none where their sum is there already."""
    folder = RunFolder(run.absolute())
    plan = mending(folder.root, lambda: read_plan(folder.root))
    if kept(folder, *folder.reduced(iteration, Subset(subset), plan.n_folds)):
        return []
    return mending(folder.root, lambda: missing(folder.root, iteration, Subset(subset)))


def latest_state(run: Path) -> State | None:
    """State of the last finished iteration, None before the start."""
    return mending(run.absolute(), lambda: inputs.latest_state(run))


def postprocess(run: Path) -> Path:
    """What a job leaves after its last iteration: in a refinement masked FSC, sharpening, local resolution, summary."""
    path: Path = mending(run.absolute(), lambda: step_of(run.absolute(), "finish")(run.absolute()))
    return path
