"""Tasks go to the workers and come back, whatever their end; clients share one pool."""

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from cluster_helpers import alive, compute, task, until

from blush.cluster.client import TaskFailedError, run_tasks
from blush.cluster.resident import PoolGoneError, announced, connect
from blush.errors import BlushError


def run_here(folder, *tasks):
    return run_tasks(folder, compute(), tasks, lambda line: None)


def test_results_come_back_by_key(shared_folder):
    tasks = [task(shared_folder.parent, f"double {n}", "double", n) for n in range(20)]
    answers = run_here(shared_folder, *tasks)
    assert {key: answer["result"] for key, answer in answers.items()} == {f"double {n}": str(2 * n) for n in range(20)}


def test_both_workers_take_part(shared_folder):
    tasks = [task(shared_folder.parent, f"wait {n}", "wait", f"part{n}", 0.5) for n in range(6)]
    until(lambda: len({answer["pid"] for answer in run_here(shared_folder, *tasks).values()}) == 2, 60)


def test_workers_have_the_threads_of_the_configuration(shared_folder):
    assert run_here(shared_folder, task(shared_folder.parent, "threads", "threads"))["threads"]["result"] == "1"


def test_nothing_to_do_starts_no_pool(tmp_path):
    assert run_tasks(tmp_path / ".pool", compute(), [], lambda line: None) == {}
    assert not (tmp_path / ".pool").exists()


def test_a_mistake_of_the_user_comes_back_as_such(shared_folder):
    with pytest.raises(BlushError) as caught:
        run_here(shared_folder, task(shared_folder.parent, "m", "mistake"))
    assert str(caught.value) == "cannot do it\n  a.mrc: is odd; crop it\n  b.mrc: is odd; crop it"


def test_a_bug_comes_back_with_the_traceback_of_the_worker(shared_folder):
    with pytest.raises(TaskFailedError, match=r"(?s)b failed in a worker:.*toy_tasks.py.*ZeroDivisionError: of this"):
        run_here(shared_folder, task(shared_folder.parent, "b", "bug"))


def test_clients_that_come_at_once_share_a_pool_and_a_task(folder):
    calls = [task(folder.parent, "counted", "count", "calls")] * 3
    with ThreadPoolExecutor(3) as clients:
        answers = list(clients.map(lambda one: run_tasks(folder, compute(), [one], lambda line: None), calls))
    assert [answer["counted"]["result"] for answer in answers] == ["1", "1", "1"]
    assert (folder / "pool.log").read_text().count("Scheduler at:") == 1


def test_other_settings_get_another_pool(folder):
    run_tasks(folder, compute(), [task(folder.parent, "a", "double", 1)], lambda line: None)
    first = announced(folder)["pid"]
    one = run_tasks(folder, compute(threads_per_worker=2), [task(folder.parent, "b", "threads")], lambda line: None)
    assert one["b"]["result"] == "2"
    assert announced(folder)["pid"] != first
    assert not alive(first)


def test_a_client_without_the_token_is_refused(shared_folder):
    run_here(shared_folder, task(shared_folder.parent, "a", "double", 1))
    found = announced(shared_folder)
    assert (shared_folder / "pool.json").stat().st_mode & 0o077 == 0
    with connect({**found, "token": "guessed"}) as connection:
        connection.send({"op": "stop"})
        with pytest.raises(PoolGoneError, match="its key is another pool's; start the same command again"):
            list(connection.answers())
    assert alive(found["pid"])


def test_noise_on_the_socket_does_no_harm(shared_folder):
    run_here(shared_folder, task(shared_folder.parent, "a", "double", 1))
    with socket.create_connection(("127.0.0.1", announced(shared_folder)["port"])) as stream:
        stream.sendall(b"GET / HTTP/1.1\r\n\r\n[1]\n{}\n")
    for line in (b"[1]\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n"):
        with socket.create_connection(("127.0.0.1", announced(shared_folder)["port"])) as stream:
            stream.sendall(line)
            assert stream.recv(100) == b"", "closed without an answer"
    assert "Traceback" not in (shared_folder / "pool.log").read_text()
    assert run_here(shared_folder, task(shared_folder.parent, "b", "double", 2))["b"]["result"] == "4"


def test_a_killed_client_takes_its_waiting_tasks_along(shared_folder):
    """Twelve tasks wait for two workers; once their client is dead, only those begun go on."""
    run = shared_folder.parent
    tasks = [task(run, f"long {n}", "wait", f"long{n}", 2.0).__dict__ for n in range(12)]
    code = (
        "import json, sys; from pathlib import Path; from blush.cluster.client import run_tasks;"
        "from blush.cluster.task import Task; folder, compute, tasks = map(json.loads, sys.argv[1:]);"
        "run_tasks(Path(folder), compute, [Task(**t) for t in tasks], print)"
    )
    arguments = [json.dumps(value) for value in (str(shared_folder), compute(), tasks)]
    client = subprocess.Popen([sys.executable, "-c", code, *arguments])
    until(lambda: len(list(run.glob("long*"))) == 2)
    client.kill()
    client.wait()
    assert run_here(shared_folder, task(run, "after", "double", 4))["after"]["result"] == "8"
    assert 2 <= len(list(run.glob("long*"))) <= 4
