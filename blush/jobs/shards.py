"""Results of shards by the names of what they were made from: a stale one is never taken for another."""

from __future__ import annotations

from pathlib import Path

import xxhash

from blush.io.seal import is_sealed
from blush.jobs.inputs import Plan, read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.other_bodies import files_of_others
from blush.jobs.references import references_for
from blush.jobs.sealed import checked, content_digest
from blush.refine.state import ALGORITHM_VERSION, State, load_state
from blush.refine.subset import Subset


def shard_key(folder: RunFolder, state: State, subset: Subset, fold: int) -> str:
    """Digest of all that the expectation step after `state` depends on for the images of a fold.

    These are the run's identity, the state, the poses and the references, and of other parts of the particle too, by
    the digests in their seals; the step that loads a file compares it with its seal.

    Raises
    ------
    DamagedFile
        If one of these files is missing or bears no seal.
    """
    digest, n = xxhash.xxh3_128(str(ALGORITHM_VERSION).encode()), state.iteration
    references = references_for(folder, state, subset, fold)
    others = files_of_others(folder, state, subset)
    for path in (folder.identity, folder.state(n), folder.poses(n), *references, *others):
        digest.update(content_digest(path).encode())
    return digest.hexdigest()[:12]


def shard_files(folder: RunFolder, state: State, plan: Plan, subset: Subset) -> list[Path]:
    """Results of all shards of a subset in the iteration after `state`, in their order.

    Raises
    ------
    DamagedFile
        If a file that they are made from is missing or bears no seal.
    """
    keys = [shard_key(folder, state, subset, fold) for fold in range(plan.n_folds)]
    n = state.iteration + 1
    return [folder.shard(n, subset, s, keys[plan.fold(subset, s)]) for s in range(plan.n_shards(subset))]


def missing_shards(root: Path, iteration: int, subset: Subset) -> list[int]:
    """Shards whose results are not on disk yet, or were cut short; `reduce_subset` reads them whole."""
    folder = RunFolder(root)
    state = load_state(checked(folder, folder.state(iteration - 1)))
    return [s for s, path in enumerate(shard_files(folder, state, read_plan(root), subset)) if not is_sealed(path)]
