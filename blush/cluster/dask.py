"""What this package fixes of Dask: how processes of a pool find and trust each other, and how tasks are dealt."""

from pathlib import Path
from typing import Any

import dask.config
from distributed import Client, Scheduler
from distributed.security import Security

from blush.cluster.tls import key_pair
from blush.io.files import read_json, write_json

_CONFIG = {
    "distributed.scheduler.allowed-failures": 3,
    "distributed.comm.timeouts.connect": "60s",
}


def security_of(folder: Path) -> Security | None:
    """Keys of a pool, None where it runs without."""
    names = key_pair(folder / "tls")
    return Security(require_encryption=True, **names) if names else None


def scheduler_for(folder: Path, *, host: str | None = None, interface: str | None = None) -> Scheduler:
    """A scheduler to be entered with `async with`; it listens on a host, an interface, or everywhere."""
    dask.config.set(_CONFIG)
    security = security_of(folder)
    return Scheduler(
        host=host,
        interface=interface,
        port=0,
        protocol="tls://" if security else "tcp://",
        security=security,
        dashboard=False,
        dashboard_address="127.0.0.1:0",
    )


def publish_address(folder: Path, address: str) -> None:
    """Tell workers where the scheduler is."""
    write_json(folder / "scheduler.json", {"address": address})


def address_of(folder: Path) -> str:
    """Where the scheduler of a pool is."""
    address: str = read_json(folder / "scheduler.json")["address"]
    return address


async def client_of(folder: Path, scheduler: Scheduler | None, scheduler_file: str | None) -> Any:
    """Client of this pool's scheduler, or of the one that the user runs."""
    if scheduler is None:
        return await Client(scheduler_file=scheduler_file, asynchronous=True, timeout=60)
    return await Client(scheduler.address, asynchronous=True, security=security_of(folder), timeout=60)
