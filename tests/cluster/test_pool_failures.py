"""A pool outlives its workers, is replaced when it dies itself, and ends when nobody needs it."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster_helpers import alive, compute, task, until

from blush.cluster.client import run_tasks, stop_pool
from blush.cluster.resident import PoolGoneError, announced
from blush.errors import BlushError


def run_here(folder, *tasks, **changes):
    return run_tasks(folder, compute(**changes), tasks, lambda line: None)


def test_a_task_outlives_the_death_of_its_worker(folder):
    work = task(folder.parent, "wait", "wait", "begun", 2.0)
    begun = folder.parent / "begun"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(run_here, folder, work)
        victim = int(until(lambda: begun.exists() and begun.read_text()))
        os.kill(victim, signal.SIGKILL)
        survivor = int(answer.result(60)["wait"]["result"])
    assert survivor != victim


def test_a_dead_pool_is_noticed_its_workers_end_and_another_takes_over(folder):
    work = task(folder.parent, "wait", "wait", "begun", 60.0)
    begun = folder.parent / "begun"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(run_here, folder, work)
        worker = int(until(lambda: begun.exists() and begun.read_text()))
        dead = announced(folder)["pid"]
        os.kill(dead, signal.SIGKILL)
        with pytest.raises(PoolGoneError, match=r"with 1 task\(s\) to do; its log is .*pool\.log"):
            answer.result(30)
    until(lambda: not alive(worker))
    assert run_here(folder, task(folder.parent, "a", "double", 3))["a"]["result"] == "6"
    assert announced(folder)["pid"] != dead


def test_a_pool_without_work_ends_itself_and_its_workers(folder):
    answers = run_here(folder, task(folder.parent, "a", "wait", "begun", 0.0), idle_minutes=0.02)
    pool, worker = announced(folder)["pid"], int(answers["a"]["result"])
    until(lambda: not alive(pool) and not alive(worker))
    assert announced(folder) is None


def test_a_pool_can_be_stopped(folder):
    answers = run_here(folder, task(folder.parent, "a", "wait", "begun", 0.0))
    pool = announced(folder)["pid"]
    stop_pool(folder)
    assert not alive(pool)
    assert not alive(int(answers["a"]["result"]))
    stop_pool(folder)  # and once more: there is none


def test_workers_that_cannot_start_are_reported_with_their_log(folder):
    with pytest.raises(
        BlushError, match=r"(?s)no workers.*workers end before they join.*worker-\d\.log.*(Error|error)"
    ):
        run_here(folder, task(folder.parent, "a", "double", 1), scratch="/dev/null/nowhere")


@pytest.mark.slow
def test_a_task_that_kills_every_worker_is_given_up(folder):
    """Four deaths, each followed by the start of a new worker."""
    with pytest.raises(BlushError, match="fatal: every worker that took it died; they have probably run out of memory"):
        run_here(folder, task(folder.parent, "fatal", "die"))
