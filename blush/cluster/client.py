"""The thin side of a pool: hands it tasks and gathers the answers. Only the standard library.

A rule of the loop that imports Dask would pay more for that than for all it does.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blush.cluster.resident import PoolGoneError, announced, connect, end_pool, find_or_start
from blush.cluster.task import Task
from blush.errors import BlushError

_NOTE_SECONDS = 30.0

Answers = dict[str, dict[str, Any]]
Notify = Callable[[str], None]


class TaskFailedError(Exception):
    """A task met a bug; the text is the worker's traceback."""


def run_tasks(
    folder: Path, compute: Mapping[str, Any], tasks: Sequence[Task], notify: Notify, *, owned: bool = False
) -> Answers:
    """Have tasks done by the pool of a folder, which is started if need be.

    Parameters
    ----------
    folder
        `pool_folder` of the run, or a folder for a pool of one's own.
    compute
        Section `compute` of the configuration.
    tasks
        What to do; each by its own key.
    notify
        Gets a line for each task that ended, and now and then one about a long wait.
    owned
        Whether a pool that has to be started dies with this process.

    Returns
    -------
    Answers by key: "result", "pid" of the worker, "seconds".

    Raises
    ------
    BlushError
        Where a task met a mistake of the user, or no worker can be had.
    TaskFailedError, PoolGoneError
        Where a task or the pool failed; what was done stays done.
    """
    if not tasks:
        return {}
    answers: Answers = {}
    noted = time.monotonic()
    with find_or_start(folder, compute, owned=owned) as connection:
        connection.send({"op": "run", "tasks": [asdict(task) for task in tasks]})
        for answer in connection.answers():
            if "about" in answer:
                noted = _mind(answer["about"], noted, notify)
                continue
            answers[answer["key"]] = _checked(answer)
            notify(f"{answer['key']}: {answer['seconds']} s in process {answer['pid']}, {len(answers)}/{len(tasks)}")
            if len(answers) == len(tasks):
                return answers
    raise PoolGoneError(f"with {len(tasks) - len(answers)} task(s) to do; its log is {folder / 'pool.log'}")


def stop_pool(folder: Path) -> None:
    """End the pool of a folder and its workers, if there is one."""
    if (found := announced(folder)) is None:
        return
    with suppress(OSError, PoolGoneError), connect(found) as connection:
        connection.send({"op": "stop"})
        list(connection.answers())
    end_pool(folder, found)


def _mind(about: Mapping[str, Any], noted: float, notify: Notify) -> float:
    """Give up on a pool in trouble; pass on what it says, and now and then that there are no workers yet."""
    for line in about["notices"]:
        notify(line)
        sys.stderr.write(f"blush: {line}\n")
    if about["trouble"]:
        raise BlushError("the worker pool has no workers", [about["trouble"]])
    if about["workers"] == 0 and time.monotonic() - noted > _NOTE_SECONDS:
        notify("waiting for workers")
        return time.monotonic()
    return noted


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is a result; any other is raised."""
    if "mistake" in answer:
        title, *lines = answer["mistake"].split("\n")
        raise BlushError(title, [line.strip() for line in lines])
    if "bug" in answer:
        raise TaskFailedError(f"{answer['key']} failed in a worker:\n{answer['bug']}")
    return answer
