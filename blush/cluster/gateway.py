"""The door of a pool: takes tasks from thin clients over a local socket, and sends back how each ended.

One request per connection, JSON lines both ways (`blush.cluster.client` is the other side):
{"token", "op": "run", "tasks": [...]} is answered by one line per task as it ends, and by a line about the pool while
nothing does; {"token", "op": "stop"} ends the pool. A client that goes away takes its waiting tasks along; those that
have begun go on, and a client that comes for them meanwhile joins them. For that to be known, a task is given to Dask
only when a worker is free.
"""

import asyncio
import hmac
import json
import time
import uuid
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from distributed import KilledWorker

from blush.cluster.task import Task, perform

BEAT_SECONDS = 5.0
LINE_LIMIT = 1 << 26
_FIRST_LINE_SECONDS = 30.0

Answer = dict[str, Any]


@dataclass(eq=False)
class _Work:
    """A task that is waiting or has begun, and how many clients want it."""

    task: Task
    outcome: asyncio.Future[Answer]
    listeners: int = 0

    @property
    def name(self) -> tuple[str, str]:
        """What makes it the same work as another's: runs that share a pool use the same keys."""
        return self.task.run, self.task.key


class Gateway:
    """Serves the clients of a pool.

    Parameters
    ----------
    client
        Dask client of the pool's scheduler, asynchronous.
    token
        Secret that every request must show.
    about
        What to tell clients that wait; under "trouble" why they wait in vain.

    Attributes
    ----------
    workers
        Tasks that can be done at once; its owner keeps it up to date, and calls `deal` after a change.
    """

    def __init__(self, client: Any, token: str, about: Callable[[], Answer]) -> None:
        self.stopping = asyncio.Event()
        self.last_used = time.monotonic()
        self.token = token
        self.workers = 0
        self._client, self._about = client, about
        self._waiting: dict[tuple[str, str], _Work] = {}
        self._begun: dict[tuple[str, str], _Work] = {}
        self._helpers: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether any task waits or has begun."""
        return bool(self._waiting or self._begun)

    def deal(self) -> None:
        """Give waiting tasks, first come first served, to as many workers as have none."""
        while self._waiting and len(self._begun) < self.workers:
            work = self._waiting.pop(next(iter(self._waiting)))
            self._begun[work.name] = work
            helper = asyncio.create_task(self._finish(work))
            self._helpers.add(helper)
            helper.add_done_callback(self._helpers.discard)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one connection."""
        with suppress(ConnectionError, TimeoutError):
            request = await _request(reader)
            if request is None:
                writer.close()
                return
            token = request.get("token", "")
            if not hmac.compare_digest(str(token).encode(), self.token.encode()):
                refused = "its key is another pool's; start the same command again: it finds or makes the right pool"
                await _send(writer, {"refused": refused})
            elif request["op"] == "stop":
                await _send(writer, {"stopping": True})
                self.stopping.set()
            else:
                await self._run([Task(**task) for task in request["tasks"]], reader, writer)
        self.last_used = time.monotonic()
        writer.close()

    async def _run(self, tasks: list[Task], reader: StreamReader, writer: StreamWriter) -> None:
        """Send answers until all are sent or the client is gone."""
        waiting: dict[asyncio.Future[Any], _Work] = {work.outcome: work for work in map(self._join, tasks)}
        self.deal()
        gone = asyncio.create_task(reader.read(1))
        try:
            await _send(writer, {"about": self._about()})
            while waiting and not gone.done():
                sleepers: list[asyncio.Future[Any]] = [*waiting, gone]
                await asyncio.wait(sleepers, timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                ended = [outcome for outcome in waiting if outcome.done()]
                for outcome in ended:
                    await _send(writer, {"key": waiting.pop(outcome).task.key, **outcome.result()})
                if not ended:
                    await _send(writer, {"about": self._about()})
        finally:
            gone.cancel()
            for work in waiting.values():
                self._leave(work)

    def _join(self, task: Task) -> _Work:
        """Listen to a task, which waits for its turn if it is new."""
        new = _Work(task, asyncio.get_running_loop().create_future())
        work = self._begun.get(new.name) or self._waiting.get(new.name)
        if work is None:
            work = self._waiting[new.name] = new
        work.listeners += 1
        return work

    def _leave(self, work: _Work) -> None:
        """Stop listening; a task that nobody wants and that has not begun is withdrawn."""
        work.listeners -= 1
        if work.listeners == 0 and self._waiting.get(work.name) is work:
            del self._waiting[work.name]

    async def _finish(self, work: _Work) -> None:
        """Have one task done, whatever happens to the workers."""
        task = work.task
        try:
            key = f"{task.key} {uuid.uuid4().hex}"
            answer = await self._client.submit(perform, task.target, task.run, tuple(task.args), key=key, pure=False)
        except KilledWorker:
            answer = {
                "mistake": f"{task.key}: every worker that took it died; they have probably run out of memory: "
                "lower compute.workers, or raise compute.memory_gb, and look into the worker logs"
            }
        except Exception as error:  # of Dask itself: those of the task come back as an answer
            if self.stopping.is_set():  # the pool takes its tasks along; who waits sees it go
                return
            answer = {"bug": f"{type(error).__name__}: {error}"}
        del self._begun[work.name]
        work.outcome.set_result(answer)
        self.deal()


async def _request(reader: StreamReader) -> dict[str, Any] | None:
    """What a client asks; None for what is no request."""
    line = asyncio.wait_for(reader.readline(), _FIRST_LINE_SECONDS)
    try:
        request = json.loads(await line)
    except (ValueError, RecursionError):  # no JSON, not text, over the limit, or too deep
        return None
    return request if isinstance(request, dict) else None


async def _send(writer: StreamWriter, answer: Answer) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
