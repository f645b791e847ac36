"""The steps of the loop, handed to the run's pool of workers by processes that import neither Dask nor torch."""

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blush.cluster.client import Notify, run_tasks, stop_pool
from blush.cluster.resident import pool_folder
from blush.cluster.task import Task
from blush.errors import BlushError, Problem


def start(run: Path, notify: Notify) -> None:
    """`steps.start` on a worker."""
    _run(run, [_task(run, "start", "start")], notify)


def expectation(run: Path, iteration: int, half: int, notify: Notify) -> Path:
    """Every shard of a half that is not on disk yet; then the list of them all.

    Returns
    -------
    RUN/itNNN/halfH_shards.json, which is there once all shards are.
    """
    from blush.io.files import write_json
    from blush.jobs import steps
    from blush.jobs.layout import RunFolder

    missing = steps.missing_shards(run, iteration, half)
    total = steps.shards(run, half)
    notify(f"iteration {iteration}, half {half}: {total} shards, {total - len(missing)} done already")
    name = f"it{iteration:03d} half{half} shard"
    _run(run, [_task(run, f"{name}{s}", "expectation_shard", iteration, half, s) for s in missing], notify)
    if lost := steps.missing_shards(run, iteration, half):
        problem = Problem("are missing though they were reported done", "look for a full disk", value=str(lost))
        raise BlushError(f"shards of iteration {iteration}, half {half}", [problem])
    listed = RunFolder(run).iteration(iteration) / f"half{half}_shards.json"
    write_json(listed, {"half": half, "iteration": iteration, "shards": total})
    return listed


def reduce(run: Path, iteration: int, half: int, notify: Notify) -> None:
    """`steps.reduce_half` on a worker."""
    _run(run, [_task(run, f"it{iteration:03d} half{half} reduce", "reduce_half", iteration, half)], notify)


def regularise(run: Path, iteration: int, notify: Notify) -> None:
    """`steps.denoise_and_trail` on a worker."""
    _run(run, [_task(run, f"it{iteration:03d} regularise", "denoise_and_trail", iteration)], notify)


def _task(run: Path, key: str, function: str, *args: int) -> Task:
    return Task(key, f"blush.jobs.steps:{function}", str(run.absolute()), args)


def _run(run: Path, tasks: Sequence[Task], notify: Notify) -> None:
    """Give tasks to the run's pool; where there is none, to workers of this process, or do a single one here."""
    compute, folder = _compute(run), pool_folder(run)
    if compute["pool"] != "inline":
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
    path = run / "import" / "config.json"
    try:
        compute: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["compute"]
    except OSError as error:
        problem = Problem(str(error.strerror), "run `blush import` first", file=str(path))
        raise BlushError("this is not the folder of an imported run", [problem]) from None
    return compute
