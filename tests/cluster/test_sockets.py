"""Every socket of a pool is bound to an address that was named, and answers nobody without the key."""

import os
import socket

import psutil
import pytest
from cluster_helpers import compute, task
from listening import answering, family, listening, machine_addresses

from blush.cluster.client import run_tasks
from blush.cluster.dask import address_on
from blush.cluster.resident import announced
from blush.errors import BlushError


@pytest.fixture(scope="module")
def sockets(shared_folder):
    """Where the processes of a pool with two workers that have worked listen."""
    tasks = [task(shared_folder.parent, f"w{n}", "wait", f"w{n}", 0.5) for n in range(4)]
    run_tasks(shared_folder, compute(), tasks, lambda line: None)
    return listening(family(announced(shared_folder)["pid"]))


def test_a_local_pool_listens_on_loopback_alone(sockets):
    """Scheduler, gateway and two workers: four sockets, and no page of any of them."""
    assert {host for host, _ in sockets} == {"127.0.0.1"}
    assert len(sockets) == 4
    for address in machine_addresses():
        for _, port in sockets:
            with socket.socket() as probe:
                probe.settimeout(2)
                assert probe.connect_ex((address, port)) != 0


@pytest.fixture
def slurm_pool(local_slurm, folder):
    """A pool whose two workers are SLURM jobs of a site that hands no variables on, and its processes by name."""
    section = {"partition": "main", "minutes": 5, "interface": "lo", "options": ["--export=NONE"]}
    settings = compute(pool="slurm", slurm=section, memory_gb=1.0)
    paths = os.environ["PYTHONPATH"]
    tasks = [task(folder.parent, f"w{n}", "wait", f"w{n}", 1.5) for n in range(4)]
    answers = run_tasks(folder, settings, tasks, lambda line: None)
    workers = [psutil.Process(int(pid)) for pid in {answer["result"] for answer in answers.values()}]
    assert len(workers) == 2, (folder / "pool.log").read_text()
    assert all(worker.environ()["PYTHONPATH"].endswith(paths) for worker in workers)
    return settings, workers


@pytest.mark.slurm
@pytest.mark.slow
def test_workers_as_slurm_jobs_listen_where_they_were_told_and_one_that_stops_is_replaced(slurm_pool, folder):
    """Here the named interface is loopback's: nothing listens on any other, and nothing answers without the key."""
    settings, workers = slurm_pool
    sockets = listening([*family(announced(folder)["pid"]), *workers])
    assert {host for host, _ in sockets} == {"127.0.0.1"}
    assert len(sockets) == 4
    assert answering(sockets) == {"http": [], "dask": []}
    workers[0].suspend()
    done = run_tasks(
        folder, settings, [task(folder.parent, f"x{n}", "wait", f"x{n}", 1.0) for n in range(2)], lambda line: None
    )
    assert workers[0].pid not in {int(answer["result"]) for answer in done.values()}
    assert not workers[0].is_running()
    assert "has neither answered nor computed for 30 s: it is ended" in (folder / "notices.log").read_text()


def test_no_socket_answers_a_client_without_the_key_nor_http(sockets):
    assert answering(sockets) == {"http": [], "dask": []}


def test_files_of_a_pool_that_hold_secrets_are_its_owners_alone(sockets, shared_folder):
    secret = [shared_folder / "pool.json", *(shared_folder / "tls").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert len(secret) == 3


def test_an_interface_that_is_not_there_is_named():
    assert address_on("lo") == "127.0.0.1"
    with pytest.raises(
        BlushError, match=r"compute.slurm.interface: 'ib7' is not a valid network interface.*; name one"
    ):
        address_on("ib7")
