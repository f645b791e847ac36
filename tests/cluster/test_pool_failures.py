"""A pool outlives its workers, is replaced when it dies itself, and ends when nobody needs it."""

import os
import signal
import time
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


def test_a_dead_pool_is_noticed_its_workers_end_and_another_goes_on(folder, capfd):
    works = [task(folder.parent, "wait", "wait", "begun", 5.0), task(folder.parent, "a", "double", 3)]
    begun = folder.parent / "begun"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(run_here, folder, *works)
        worker = int(until(lambda: begun.exists() and begun.read_text()))
        dead = announced(folder)["pid"]
        os.kill(dead, signal.SIGKILL)
        until(lambda: not alive(worker))
        answers = answer.result(60)
    assert answers["a"]["result"] == "6"
    assert int(answers["wait"]["result"]) not in (worker, dead)
    assert announced(folder)["pid"] != dead
    assert (folder / "notices.log").read_text().count(f"(process {dead}) died") == 1
    assert capfd.readouterr().err.count("the worker pool went away with") == 1


def test_a_pool_that_was_asked_to_end_is_not_replaced(folder):
    begun = folder.parent / "begun"
    with ThreadPoolExecutor(1) as client:
        answer = client.submit(run_here, folder, task(folder.parent, "wait", "wait", "begun", 60.0))
        until(lambda: begun.exists())
        stop_pool(folder)
        with pytest.raises(PoolGoneError, match=r"as it was asked to; its log is .*pool\.log"):
            answer.result(30)
    assert announced(folder) is None


@pytest.mark.slow
def test_the_stopped_are_replaced_within_their_limit_and_who_computes_without_a_word_is_not(folder, tmp_path_factory):
    """Three pools at once: a worker stopped, the pool stopped, and a worker that keeps Python's lock for 40 s."""
    others = [tmp_path_factory.mktemp(name) / ".pool" for name in ("stopped_pool", "lock_kept")]
    pools = [folder, *others]
    seconds = (2.0, 2.0, 40.0)
    functions = ("wait", "wait", "compute_without_a_word")
    try:
        with ThreadPoolExecutor(3) as clients:
            answers = [
                clients.submit(run_here, pool, task(pool.parent, "work", function, "begun", length), workers=1)
                for pool, function, length in zip(pools, functions, seconds, strict=True)
            ]
            starts = [pool.parent / "begun" for pool in pools]
            first = [int(until(lambda path=path: path.exists() and path.read_text(), 60)) for path in starts]
            stopped = announced(others[0])["pid"]
            started = time.monotonic()
            os.kill(first[0], signal.SIGSTOP)
            os.kill(stopped, signal.SIGSTOP)
            second = [int(answer.result(90)["work"]["result"]) for answer in answers]
            lasted_s = time.monotonic() - started
        assert second[0] != first[0]
        assert second[1] != first[1]
        assert second[2] == first[2], "a worker that computes is never taken for one that hangs"
        assert 30 < lasted_s < 75
        assert not alive(first[0])
        assert not alive(stopped)
        assert "has neither answered nor computed for 30 s: it is ended" in (folder / "notices.log").read_text()
        assert "has said nothing for 30 s: it is replaced" in (others[0] / "notices.log").read_text()
        assert "neither answered" not in (others[1] / "pool.log").read_text()
    finally:
        for pool in others:
            stop_pool(pool)


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
