"""Every step of a refinement as a function of its run folder: what the rules and `blush refine` call.

A step reads files, writes its results beside and renames them, and does nothing where they are there already; so a
run that was killed anywhere continues with the same bytes. torch is imported by the steps that compute, not here.
"""

from __future__ import annotations

from pathlib import Path

from blush.config import RunConfig
from blush.jobs.inputs import latest_state, missing_shards, read_config, read_plan
from blush.refine.state import RefinementState

__all__ = [
    "converge", "denoise_and_trail", "expectation_shard", "import_run", "latest_state", "missing_shards",
    "postprocess", "read_config", "reduce_half", "shards", "start",
]  # fmt: skip


def import_run(config: RunConfig) -> Path:
    """Check every input and freeze it in RUN/import."""
    from blush.jobs.importing import import_run as step

    return step(config)


def start(run: Path) -> Path:
    """Iteration 0: noise, references, state."""
    from blush.jobs.start import start as step

    return step(run.absolute())


def shards(run: Path, half: int) -> int:
    """Number of shards of a half."""
    return read_plan(run.absolute()).n_shards(half)


def expectation_shard(run: Path, iteration: int, half: int, shard: int) -> Path:
    """Expectation step of one shard."""
    from blush.jobs.expect import expectation_shard as step

    return step(run.absolute(), iteration, half, shard)


def reduce_half(run: Path, iteration: int, half: int) -> Path:
    """Sum a half's shards into D and W."""
    from blush.jobs.reduce import reduce_half as step

    return step(run.absolute(), iteration, half)


def denoise_and_trail(run: Path, iteration: int) -> Path:
    """FSC, spectra, regularised references; the final maps after the last iteration."""
    from blush.jobs.denoise_and_trail import denoise_and_trail as step

    return step(run.absolute(), iteration)


def converge(run: Path, iteration: int) -> RefinementState:
    """State of the next iteration, or the end."""
    from blush.jobs.converge import converge as step

    return step(run.absolute(), iteration)


def postprocess(run: Path) -> Path:
    """Masked FSC, sharpening, local resolution and the summary."""
    from blush.jobs.finish import postprocess as step

    return step(run.absolute())
