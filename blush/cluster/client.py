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

from blush.cluster.resident import Connection, PoolGoneError, announced, connect, end_pool, find_or_start
from blush.cluster.task import Task
from blush.errors import BlushError

_NOTE_SECONDS = 30.0
_POOLS = 3
"""Pools that one call tries, each after the one before it died or fell silent."""

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
        Where a task or the pool failed; what was done stays done. A pool that dies or falls silent is replaced first.
    """
    if not tasks:
        return {}
    answers: Answers = {}
    lost: int | None = None
    for pools_left in reversed(range(_POOLS)):
        with find_or_start(folder, compute, owned=owned, lost=lost) as connection:
            lost = connection.pid
            try:
                _gather(connection, [task for task in tasks if task.key not in answers], answers, notify)
                break
            except PoolGoneError as gone:
                if not pools_left:
                    raise
                _tell(f"{gone}", notify)
    return answers


def _gather(connection: Connection, tasks: Sequence[Task], answers: Answers, notify: Notify) -> None:
    """Add the answers of one pool to those there are.

    Raises
    ------
    PoolGoneError
        If the pool ends, or falls silent, before all tasks are answered.
    """
    noted, total = time.monotonic(), len(tasks) + len(answers)
    connection.send({"op": "run", "tasks": [asdict(task) for task in tasks]})
    for answer in connection.answers():
        if "about" in answer:
            noted = _mind(answer["about"], noted, notify)
            continue
        answers[answer["key"]] = _checked(answer)
        notify(f"{answer['key']}: {answer['seconds']} s in process {answer['pid']}, {len(answers)}/{total}")
        if len(answers) == total:
            return
    raise PoolGoneError(f"with {total - len(answers)} task(s) to do")


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
        _tell(line, notify)
    if about["trouble"]:
        raise BlushError("the worker pool has no workers", [about["trouble"]])
    if about["workers"] == 0 and time.monotonic() - noted > _NOTE_SECONDS:
        notify("waiting for workers")
        return time.monotonic()
    return noted


def _tell(line: str, notify: Notify) -> None:
    notify(line)
    sys.stderr.write(f"blush: {line}\n")


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer that is a result; any other is raised."""
    if "mistake" in answer:
        title, *lines = answer["mistake"].split("\n")
        raise BlushError(title, [line.strip() for line in lines])
    if "bug" in answer:
        raise TaskFailedError(f"{answer['key']} failed in a worker:\n{answer['bug']}")
    return answer
