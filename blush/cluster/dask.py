"""What this package fixes of Dask: how processes of a pool find and trust each other, and how tasks are dealt.

Every socket of a pool is bound to one address and asks for the pool's key. The HTTP pages of Dask, which ask for none,
are left out.
"""

from pathlib import Path
from typing import Any

import dask.config
from distributed import Client, Scheduler, Worker
from distributed.comm import get_address_host
from distributed.security import Security
from distributed.utils import get_ip, get_ip_interface

from blush.cluster.tls import key_pair
from blush.errors import BlushError, Problem
from blush.io.files import read_record, write_json

LOOPBACK = "127.0.0.1"
_CONFIG = {
    "distributed.scheduler.allowed-failures": 3,
    "distributed.scheduler.worker-ttl": None,  # `blush.cluster.hearts` does that, and sooner
    "distributed.comm.timeouts.connect": "60s",
}


class _WithoutPages:
    """A part of a Dask cluster that answers no HTTP."""

    def start_http_server(self, *_: object, **__: object) -> None:
        """Open no socket."""


class _Scheduler(_WithoutPages, Scheduler):  # type: ignore[misc]
    """Dask's scheduler, without its pages."""


class _Worker(_WithoutPages, Worker):  # type: ignore[misc]
    """Dask's worker, without its pages."""


def security_of(folder: Path) -> Security:
    """Keys of a pool."""
    return Security(require_encryption=True, **key_pair(folder / "tls"))


def scheduler_for(folder: Path, host: str) -> Scheduler:
    """A scheduler to be entered with `async with`, which listens on the address `host` alone."""
    dask.config.set(_CONFIG)
    return _Scheduler(host=host, port=0, protocol="tls://", security=security_of(folder), dashboard=False)


def worker_for(folder: Path, name: str, scratch: str | None, interface: str | None) -> Worker:
    """A worker to be entered with `async with`; it listens on the address by which it reaches its scheduler."""
    scheduler = address_of(folder)
    return _Worker(
        scheduler,
        nthreads=1,
        name=name,
        host=address_on(interface) if interface else get_ip(get_address_host(scheduler)),
        memory_limit=0,  # an automatic limit kills workers of small jobs while they import torch
        local_directory=scratch,
        dashboard=False,
        death_timeout=60,
        security=security_of(folder),
    )


def address_on(interface: str | None) -> str:
    """Address of this host on a network interface; of the default route's where none is named.

    Raises
    ------
    BlushError
        If there is no such interface, or it has no address.
    """
    if interface is None:
        return str(get_ip())
    try:
        return str(get_ip_interface(interface))
    except (KeyError, ValueError) as error:
        problem = Problem(str(error), "name one of this host", where="compute.slurm.interface", value=interface)
        raise BlushError("no address for the worker pool", [problem]) from None


def publish_address(folder: Path, address: str) -> None:
    """Tell workers where the scheduler is."""
    write_json(folder / "scheduler.json", {"address": address})


def address_of(folder: Path) -> str:
    """Where the scheduler of a pool is."""
    address: str = read_record(folder / "scheduler.json", members=("address",))["address"]
    return address


async def client_of(folder: Path, scheduler: Scheduler | None, scheduler_file: str | None) -> Any:
    """Client of this pool's scheduler, or of the one that the user runs."""
    if scheduler is None:
        return await Client(scheduler_file=scheduler_file, asynchronous=True, timeout=60)
    return await Client(scheduler.address, asynchronous=True, security=security_of(folder), timeout=60)
