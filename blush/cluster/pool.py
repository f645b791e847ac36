"""The resident process of a pool: `python -m blush.cluster.pool FOLDER`.

It holds the Dask scheduler and the gateway, keeps the workers alive, and ends itself and them when nobody has given it
work for a while. `blush.cluster.client` finds or starts it; nothing else does.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from blush.cluster.dask import LOOPBACK, address_on, client_of, publish_address, scheduler_for
from blush.cluster.devices import devices_of_workers
from blush.cluster.gateway import LINE_LIMIT, Gateway
from blush.cluster.hearts import JOIN_SECONDS, SILENT_SECONDS, Hearts
from blush.cluster.notices import note
from blush.cluster.parent import die_with_parent
from blush.cluster.slurm import SlurmJobs, job_name
from blush.cluster.tls import RENEW_DAYS, make_key_pair
from blush.cluster.workers import LocalWorkers, Workers
from blush.errors import BlushError
from blush.io.files import atomic_write

_LOOK_SECONDS = 0.1


class Pool:
    """Scheduler, gateway and workers of one run.

    Parameters
    ----------
    folder
        Where its files are.
    settings
        `blush.cluster.client.pool_settings`.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._folder, self._settings, self._compute = folder, settings, settings["compute"]
        self._scheduler: Any = None
        self._workers: Workers | None = None
        self._hearts = Hearts(self._processor_time)
        self._topping_up: asyncio.Task[None] | None = None
        self._notices: list[str] = []

    async def run(self) -> None:
        """Work until idle, stopped or terminated."""
        kind = self._settings["kind"]
        async with AsyncExitStack() as stack:
            if kind != "attach":
                make_key_pair(self._folder / "tls")
                scheduler = scheduler_for(self._folder, self._listening_host(kind))
                self._scheduler = await stack.enter_async_context(scheduler)
                publish_address(self._folder, self._scheduler.address)
                self._workers = self._make_workers(kind)
                stack.callback(self._workers.end)
            client = await client_of(self._folder, self._scheduler, self._compute["scheduler_file"])
            stack.push_async_callback(client.close)
            gateway = Gateway(client, secrets.token_hex(32), self._about)
            server = await asyncio.start_server(gateway.serve, LOOPBACK, 0, limit=LINE_LIMIT)
            stack.callback(server.close)
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, gateway.stopping.set)
            self._announce(gateway, server.sockets[0].getsockname()[1])
            stack.callback(self._withdraw)
            await self._watch(gateway, client)

    def _listening_host(self, kind: str) -> str:
        """The one address of this host that the scheduler listens on, which is said."""
        if kind == "local":
            return LOOPBACK
        interface = self._compute["slurm"]["interface"]
        host = address_on(interface)
        chosen = interface or "the default route's interface, as compute.slurm.interface names none"
        self._say(f"workers reach the scheduler at {host} ({chosen}), with keys made for this pool")
        return host

    def _say(self, line: str) -> None:
        """Note a line in the log, and for the next client that listens."""
        print(line, flush=True)  # noqa: T201
        note(self._folder, line)
        self._notices.append(line)

    def _make_workers(self, kind: str) -> Workers:
        devices = devices_of_workers(kind, self._compute)
        if kind == "slurm":
            return SlurmJobs(self._folder, len(devices), self._compute, self._say)
        return LocalWorkers(self._folder, devices, self._compute)

    async def _watch(self, gateway: Gateway, client: Any) -> None:
        """Keep the workers alive until there is nothing left to do."""
        idle_seconds = self._compute["idle_minutes"] * 60
        old = time.monotonic() + RENEW_DAYS * 86400
        while not gateway.stopping.is_set():
            gateway.workers = await self._threads(client)
            gateway.deal()
            if self._workers is not None:
                self._top_up(self._workers)
                await self._end_the_hung(self._workers)
                if self._workers.trouble and not gateway.busy:
                    break
            if gateway.busy:
                gateway.last_used = time.monotonic()
            elif time.monotonic() > old:
                break
            if time.monotonic() - gateway.last_used > idle_seconds or not self._folder.exists():
                break
            await _either(gateway.stopping, _LOOK_SECONDS)

    def _top_up(self, workers: Workers) -> None:
        """Replace workers that ended, beside all else: a scheduler of jobs may take its time to answer."""
        if self._topping_up is not None:
            if not self._topping_up.done():
                return
            self._topping_up.result()
        self._topping_up = asyncio.create_task(workers.top_up(self._joined()))

    async def _end_the_hung(self, workers: Workers) -> None:
        """End the workers that neither answer nor compute; their tasks go to others, and others take their place."""
        known = {str(worker.name): worker for worker in list(self._scheduler.workers.values())}
        beats = dict.fromkeys(workers.started()) | {name: worker.last_seen for name, worker in known.items()}
        for name in self._hearts.hung(beats):
            limit = SILENT_SECONDS if name in known else JOIN_SECONDS
            self._say(f"worker {name} has neither answered nor computed for {limit:g} s: it is ended and replaced")
            await workers.end_one(name)
            if name in known:
                await self._scheduler.remove_worker(known[name].address, stimulus_id=f"hung-{name}", close=False)

    def _processor_time(self, name: str) -> float | None:
        return None if self._workers is None else self._workers.processor_time(name)

    async def _threads(self, client: Any) -> int:
        """Tasks that the workers can do at once."""
        if self._scheduler is not None:
            return int(self._scheduler.total_nthreads)
        return sum((await client.nthreads()).values())

    def _joined(self) -> list[str]:
        return [str(worker.name) for worker in list(self._scheduler.workers.values())]

    def _about(self) -> dict[str, Any]:
        workers = len(self._scheduler.workers) if self._scheduler is not None else None
        trouble = self._workers.trouble if self._workers is not None else None
        notices, self._notices = self._notices, []  # the client that hears of them tells the user
        return {"workers": workers, "trouble": trouble, "notices": notices}

    def _announce(self, gateway: Gateway, port: int) -> None:
        """Let clients of this user, and of nobody else, find the gateway."""
        content = {
            "job_name": job_name(self._folder),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "port": port,
            "settings": self._settings,
            "token": gateway.token,
        }
        with atomic_write(self._folder / "pool.json", mode=0o600) as beside:
            beside.write_text(json.dumps(content))

    def _withdraw(self) -> None:
        (self._folder / "pool.json").unlink(missing_ok=True)


async def _either(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but not longer than some seconds."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def main() -> None:
    """Run the pool of the folder given on the command line."""
    die_with_parent()
    folder = Path(sys.argv[1])
    settings = json.loads((folder / "settings.json").read_text())
    try:
        asyncio.run(Pool(folder, settings).run())
    except BlushError as error:
        sys.exit(f"blush: {error}")


if __name__ == "__main__":
    main()
