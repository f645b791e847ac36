"""The steps of the loop, handed to the run's pool of workers by processes that import neither Dask nor torch.

Every step takes the folder of another pool, for runs that share one. Whoever shares a pool also ends it; with
`compute.pool: inline`, which forbids standing pools, the shared one dies with this process.
"""

import importlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blush.cluster.client import Notify, run_tasks, stop_pool
from blush.cluster.resident import pool_folder
from blush.cluster.task import Task
from blush.errors import BlushError, Problem
from blush.refine.subset import Subset


def start(run: Path, notify: Notify, pool: Path | None = None) -> None:
    """`steps.start` on a worker."""
    _run(run, [_task(run, "start", "start")], notify, pool)


def expectation(run: Path, iteration: int, subset: Subset, notify: Notify, pool: Path | None = None) -> Path:
    """Every shard of a subset that is not on disk yet; then the list of them all.

    Returns
    -------
    RUN/itNNN/SUBSET_shards.json, which is there once all shards are.
    """
    _run(run, _shards_to_do(run, iteration, subset, notify), notify, pool)
    return _list_shards(run, iteration, subset)


def all_sums(run: Path, iteration: int, notify: Notify, pool: Path | None = None) -> None:
    """Shards and sums of all subsets, which keep more workers busy than those of one."""
    from blush.jobs import steps

    subsets = steps.subsets(run)
    _run(run, [task for one in subsets for task in _shards_to_do(run, iteration, one, notify)], notify, pool)
    for subset in subsets:
        _list_shards(run, iteration, subset)
    _run(run, [_reduction(run, iteration, subset) for subset in subsets], notify, pool)


def _shards_to_do(run: Path, iteration: int, subset: Subset, notify: Notify) -> list[Task]:
    """Tasks for the shards of a subset that are not on disk."""
    from blush.jobs import steps

    missing = steps.missing_shards(run, iteration, subset)
    total = steps.shards(run, subset)
    notify(f"iteration {iteration}, {subset.infix}: {total} shards, {total - len(missing)} done already")
    name = f"it{iteration:03d} {subset.infix} shard"
    return [_task(run, f"{name}{s}", "expectation_shard", iteration, int(subset), s) for s in missing]


def _list_shards(run: Path, iteration: int, subset: Subset) -> Path:
    """Write the list of a subset's shards, all of which must be there."""
    from blush.io.files import write_json
    from blush.jobs import steps
    from blush.jobs.layout import RunFolder

    if lost := steps.missing_shards(run, iteration, subset):
        problem = Problem("are missing though they were reported done", "look for a full disk", value=str(lost))
        raise BlushError(f"shards of iteration {iteration}, {subset.infix}", [problem])
    listed = RunFolder(run).shard_list(iteration, subset)
    write_json(listed, {"subset": subset.infix, "iteration": iteration, "shards": steps.shards(run, subset)})
    return listed


def reduce(run: Path, iteration: int, subset: Subset, notify: Notify, pool: Path | None = None) -> None:
    """`steps.reduce_subset` on a worker, after shards that were lost since they were listed."""
    if lost := _shards_to_do(run, iteration, subset, notify):
        _run(run, lost, notify, pool)
    _run(run, [_reduction(run, iteration, subset)], notify, pool)


def _reduction(run: Path, iteration: int, subset: Subset) -> Task:
    return _task(run, f"it{iteration:03d} {subset.infix} reduce", "reduce_subset", iteration, int(subset))


def denoise_and_trail(run: Path, iteration: int, notify: Notify, pool: Path | None = None) -> None:
    """`steps.denoise_and_trail` on a worker."""
    _run(run, [_task(run, f"it{iteration:03d} denoise_and_trail", "denoise_and_trail", iteration)], notify, pool)


def postprocess(run: Path, notify: Notify, pool: Path | None = None) -> None:
    """`steps.postprocess` on a worker."""
    _run(run, [_task(run, "postprocess", "postprocess")], notify, pool)


def _task(run: Path, key: str, function: str, *args: int) -> Task:
    return Task(key, f"blush.jobs.steps:{function}", str(run.absolute()), args)


def _run(run: Path, tasks: Sequence[Task], notify: Notify, pool: Path | None) -> None:
    """Give tasks to a pool; where there is none, to workers of this process, or do a single one here."""
    from blush.jobs.body_runs import whole_of

    compute, folder = _compute(run), pool_folder(whole_of(run.absolute()))
    inline = compute["pool"] == "inline"
    if pool is not None:
        run_tasks(pool, {**compute, "pool": "local"} if inline else compute, tasks, notify, owned=inline)
    elif not inline:
        run_tasks(folder, compute, tasks, notify)
    elif len(tasks) == 1:
        module, function = tasks[0].target.split(":")
        getattr(importlib.import_module(module), function)(run, *tasks[0].args)
    else:
        own = folder / f"inline-{os.getpid()}"
        try:
            run_tasks(own, {**compute, "pool": "local"}, tasks, notify, owned=True)
        finally:
            stop_pool(own)


def _compute(run: Path) -> dict[str, Any]:
    """Section `compute` as it was checked at import."""
    from blush.io.files import read_record
    from blush.jobs.layout import RunFolder
    from blush.jobs.mend import mending
    from blush.jobs.sealed import checked

    folder = RunFolder(run.absolute())
    path = folder.imported / "config.json"
    if not folder.imported.exists():
        problem = Problem("is missing", "run `blush import` first", file=str(path))
        raise BlushError("this is not the folder of an imported run", [problem])
    compute: dict[str, Any] = mending(folder.root, lambda: read_record(checked(folder, path)))["compute"]
    return compute
