"""The door of a pool: takes tasks from thin clients over a local socket, and sends back how each ended.

One request per connection, JSON lines both ways (`blush.cluster.client` is the other side):
{"token", "op": "run", "tasks": [...]} is answered by one line per task as it ends, and by a line about the pool while
nothing does; {"token", "op": "stop"} ends the pool. A client that goes away takes its waiting tasks along; those at
work end, and a client that comes for them meanwhile joins them.
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
    """A task under way, and how many clients wait for it."""

    task: Task
    future: Any
    outcome: asyncio.Task[Answer]
    listeners: int = 0


class Gateway:
    """Serves the clients of a pool.

    Parameters
    ----------
    client
        Dask client of the pool's scheduler, asynchronous.
    token
        Secret that every request must show.
    state_of
        Scheduler's state of a task by its Dask key; "processing" while a worker has it.
    about
        What to tell clients that wait; under "trouble" why they wait in vain.
    """

    def __init__(self, client: Any, token: str, state_of: Callable[[str], str], about: Callable[[], Answer]) -> None:
        self.stopping = asyncio.Event()
        self.last_used = time.monotonic()
        self.token = token
        self._client, self._state_of, self._about = client, state_of, about
        self._under_way: dict[str, _Work] = {}

    @property
    def busy(self) -> bool:
        """Whether any task is under way."""
        return bool(self._under_way)

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Answer one connection."""
        with suppress(ConnectionError, TimeoutError, json.JSONDecodeError):
            request = json.loads(await asyncio.wait_for(reader.readline(), _FIRST_LINE_SECONDS))
            if not hmac.compare_digest(str(request.get("token", "")), self.token):
                await _send(writer, {"refused": "wrong token"})
            elif request["op"] == "stop":
                await _send(writer, {"stopping": True})
                self.stopping.set()
            else:
                await self._run([Task(**task) for task in request["tasks"]], reader, writer)
        self.last_used = time.monotonic()
        writer.close()

    async def _run(self, tasks: list[Task], reader: StreamReader, writer: StreamWriter) -> None:
        """Send answers until all are sent or the client is gone."""
        waiting = {work.outcome: work for work in map(self._join, tasks)}
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await _send(writer, {"about": self._about()})
            while waiting and not gone.done():
                await asyncio.wait([*waiting, gone], timeout=BEAT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
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
        """Listen to a task, submitting it if it is not under way yet."""
        work = self._under_way.get(task.key)
        if work is None:
            key = f"{task.key} {uuid.uuid4().hex}"
            future = self._client.submit(perform, task.target, task.run, tuple(task.args), key=key, pure=False)
            work = _Work(task, future, asyncio.ensure_future(_outcome(task, future)))
            self._under_way[task.key] = work
            work.outcome.add_done_callback(lambda _: self._forget(work))
        work.listeners += 1
        return work

    def _leave(self, work: _Work) -> None:
        """Stop listening; a task that nobody waits for and no worker has is withdrawn."""
        work.listeners -= 1
        if work.listeners == 0 and self._state_of(work.future.key) != "processing":
            self._forget(work)
            work.outcome.cancel()
            work.future.release()

    def _forget(self, work: _Work) -> None:
        if self._under_way.get(work.task.key) is work:
            del self._under_way[work.task.key]


async def _outcome(task: Task, future: Any) -> Answer:
    """How a task ended, whatever happened to the workers."""
    try:
        answer: Answer = await future
    except KilledWorker:
        return {
            "mistake": f"{task.key}: every worker that took it died; they have probably run out of memory: "
            "lower compute.workers, or raise compute.memory_gb, and look into the worker logs"
        }
    except Exception as error:  # of Dask itself: those of the task come back as an answer
        return {"bug": f"{task.key}: {type(error).__name__}: {error}"}
    return answer


async def _send(writer: StreamWriter, answer: Answer) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
