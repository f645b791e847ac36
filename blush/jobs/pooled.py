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


def start(run: Path, notify: Notify, pool: Path | None = None) -> None:
    """`steps.start` on a worker."""
    _run(run, [_task(run, "start", "start")], notify, pool)


def expectation(run: Path, iteration: int, half: int, notify: Notify, pool: Path | None = None) -> Path:
    """Every shard of a half that is not on disk yet; then the list of them all.

    Returns
    -------
    RUN/itNNN/halfH_shards.json, which is there once all shards are.
    """
    _run(run, _shards_to_do(run, iteration, half, notify), notify, pool)
    return _list_shards(run, iteration, half)


def half_sums(run: Path, iteration: int, notify: Notify, pool: Path | None = None) -> None:
    """Shards and sums of both halves, which keep more workers busy than one half's."""
    _run(run, [task for half in (1, 2) for task in _shards_to_do(run, iteration, half, notify)], notify, pool)
    for half in (1, 2):
        _list_shards(run, iteration, half)
    _run(run, [_reduction(run, iteration, half) for half in (1, 2)], notify, pool)


def _shards_to_do(run: Path, iteration: int, half: int, notify: Notify) -> list[Task]:
    """Tasks for the shards of a half that are not on disk."""
    from blush.jobs import steps

    missing = steps.missing_shards(run, iteration, half)
    total = steps.shards(run, half)
    notify(f"iteration {iteration}, half {half}: {total} shards, {total - len(missing)} done already")
    name = f"it{iteration:03d} half{half} shard"
    return [_task(run, f"{name}{s}", "expectation_shard", iteration, half, s) for s in missing]


def _list_shards(run: Path, iteration: int, half: int) -> Path:
    """Write the list of a half's shards, all of which must be there."""
    from blush.io.files import write_json
    from blush.jobs import steps
    from blush.jobs.layout import RunFolder

    if lost := steps.missing_shards(run, iteration, half):
        problem = Problem("are missing though they were reported done", "look for a full disk", value=str(lost))
        raise BlushError(f"shards of iteration {iteration}, half {half}", [problem])
    listed = RunFolder(run).shard_list(iteration, half)
    write_json(listed, {"half": half, "iteration": iteration, "shards": steps.shards(run, half)})
    return listed


def reduce(run: Path, iteration: int, half: int, notify: Notify, pool: Path | None = None) -> None:
    """`steps.reduce_half` on a worker, after shards that were lost since they were listed."""
    if lost := _shards_to_do(run, iteration, half, notify):
        _run(run, lost, notify, pool)
    _run(run, [_reduction(run, iteration, half)], notify, pool)


def _reduction(run: Path, iteration: int, half: int) -> Task:
    return _task(run, f"it{iteration:03d} half{half} reduce", "reduce_half", iteration, half)


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
    compute, folder = _compute(run), pool_folder(run)
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
