"""How a run's images are divided, once and for all: half-sets, folds, shards."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.geometry.symmetry import operators
from blush.io.particles import ParticleSet
from blush.jobs.inputs import Plan
from blush.jobs.subsets import folds_of, subsets_of
from blush.refine.subset import Subset

PARTICLES_PER_SHARD = 2500
FEWEST_SHARDS = 4
_HALF_STREAM = 2
_FOLD_STREAM = 3


def assign_halves(particles: ParticleSet, seed: int, group: NDArray[np.int64] | None = None) -> NDArray[np.int8]:
    """The half-sets of the STAR file, or two random ones of equal size.

    Parameters
    ----------
    group
        (n,) what rows are drawn together with, filaments or images: the halves are as equal as these allow.
    """
    if (particles.half > 0).all():
        return particles.half
    together = np.arange(len(particles)) if group is None else group
    sizes = np.bincount(together)
    order = np.random.default_rng([_HALF_STREAM, seed]).permutation(len(sizes))
    half = np.full(len(sizes), 2, dtype=np.int8)
    middle = np.cumsum(sizes[order]) - sizes[order] / 2  # so that neither half stays empty, however long the first is
    half[order[middle <= len(particles) // 2]] = 1
    return half[together]


def assign_folds(group: NDArray[np.int64], n_folds: int, seed: int, subset: Subset) -> NDArray[np.int64]:
    """Random folds of nearly equal size: groups are dealt out in turn, the largest first.

    Parameters
    ----------
    group
        (n,) what each row of the subset is drawn together with; sizes of folds differ by at most the largest group.

    Returns
    -------
    (n,) fold of each row, from 0.

    Raises
    ------
    BlushError
        If a fold would stay empty.
    """
    if n_folds == 1:
        return np.zeros(len(group), dtype=np.int64)
    _, index, sizes = np.unique(group, return_inverse=True, return_counts=True)
    if len(sizes) < n_folds:
        remedy = f"give at least {n_folds} images, or filaments where they are drawn whole"
        problem = Problem(f"cannot be divided into {n_folds} folds", remedy, value=f"{len(sizes)} to draw from")
        raise BlushError(f"too few particles in {subset.infix}", [problem])
    shuffled = np.random.default_rng([_FOLD_STREAM, seed, subset]).permutation(len(sizes))
    dealt = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    fold = np.empty(len(sizes), dtype=np.int64)
    fold[dealt] = np.arange(len(sizes)) % n_folds
    return fold[index.reshape(-1)]


def plan_shards(
    particles: ParticleSet, half: NDArray[np.int8], config: RunConfig, group: NDArray[np.int64] | None = None
) -> dict[str, NDArray[Any]]:
    """Rows of each subset, fold by fold in the order of the stacks, cut into shards of nearly equal size.

    Parameters
    ----------
    half
        (n,) half-set of each row.
    group
        (n,) what rows are drawn together with; such rows lie in one fold.

    Raises
    ------
    BlushError
        If a subset has too few images for its folds.
    """
    plan: dict[str, NDArray[Any]] = {"operators": operators(config.symmetry).numpy(), "half": half}
    by_stack = np.lexsort((particles.image_index, particles.stack_index))
    together = np.arange(len(particles)) if group is None else group
    n_folds = folds_of(config)
    for subset in subsets_of(config):
        members = by_stack if subset is Subset.ALL else by_stack[half[by_stack] == subset]
        fold = assign_folds(together[members], n_folds, config.seed, subset)
        rows = [members[fold == f] for f in range(n_folds)]
        counts = [_n_shards(len(some), n_folds, config.compute.shards_per_half) for some in rows]
        begins = np.cumsum([0, *map(len, rows)])
        cuts = [
            begin + np.linspace(0, len(some), count + 1).round().astype(np.int64)[1:]
            for begin, some, count in zip(begins, rows, counts, strict=False)
        ]
        plan[f"rows_{subset.infix}"] = np.concatenate(rows)
        plan[f"edges_{subset.infix}"] = np.concatenate([begins[:1], *cuts])
        plan[f"folds_{subset.infix}"] = np.repeat(np.arange(n_folds), counts)
    return plan


def _n_shards(n_rows: int, n_folds: int, wanted: str | int) -> int:
    """Shards of a fold: what is wanted of its subset, or as many as its size asks for."""
    if isinstance(wanted, int):
        return min(-(-wanted // n_folds), n_rows)
    return min(max(-(-FEWEST_SHARDS // n_folds), -(-n_rows // PARTICLES_PER_SHARD)), n_rows)


def largest_shard(plan: dict[str, NDArray[Any]]) -> int:
    """Images of the largest shard of a plan."""
    return max(int(np.diff(edges).max()) for edges in Plan.of(plan).edges)
