"""Programs that are run side by side, ended together, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

POLL_SECONDS = 0.05
GRACE_SECONDS = 2.0
_GUARD = 'groups=; while read -r group; do groups="$groups -$group"; done; [ -n "$groups" ] && kill -s KILL -- $groups'
"""Reads process groups; when its input ends it kills them. Its input ends when its parent does, however that ends."""


class ChildError(Exception):
    """A program failed or took too long; `index` says which."""

    def __init__(self, index: int, text: str) -> None:
        self.index = index
        super().__init__(text)


def run_together(commands: Sequence[str], logs: Sequence[Path], folder: Path, timeout_seconds: float) -> None:
    """Run shell commands at the same time, each in a process group of its own, and wait for all.

    The first failure ends all of them, since programs may wait for one another. Whatever they leave running in their
    groups is ended as well, also when this process is killed.

    Parameters
    ----------
    logs
        Output of each.
    folder
        Working folder of all.

    Raises
    ------
    ChildError
        Where one ends with another status than 0, or time is over.
    """
    deadline = time.monotonic() + timeout_seconds
    with _guarded() as guard, ExitStack() as stack:
        running: list[subprocess.Popen[bytes]] = []
        for command, log in zip(commands, logs, strict=True):
            output = stack.enter_context(log.open("wb"))
            child = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            running.append(child)
            stack.callback(_end_group, child)
            assert guard.stdin is not None
            guard.stdin.write(f"{child.pid}\n".encode())
            guard.stdin.flush()
        _wait(running, deadline, timeout_seconds)


def _wait(running: Sequence[subprocess.Popen[bytes]], deadline: float, timeout_seconds: float) -> None:
    while True:
        states = [child.poll() for child in running]
        for index, state in enumerate(states):
            if state:
                raise ChildError(index, _how(state))
        if None not in states:
            return
        if time.monotonic() > deadline:
            raise ChildError(states.index(None), f"had not ended after {timeout_seconds / 60:g} minutes")
        time.sleep(POLL_SECONDS)


def _how(state: int) -> str:
    """How a program ended; a shell says 128 + n of what signal n has killed."""
    number = -state if state < 0 else state - 128
    return f"was killed by signal {number}" if number > 0 else f"ended with status {state}"


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End what is left of a program's group: asked first, then killed."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(ProcessLookupError):  # nothing is left
            os.killpg(child.pid, how)
            while time.monotonic() < deadline:
                child.poll()  # a leader that nobody waited for stays in its group
                os.killpg(child.pid, 0)
                time.sleep(POLL_SECONDS)
    child.wait()


@contextmanager
def _guarded() -> Iterator[subprocess.Popen[bytes]]:
    """The guard of the groups that are written to its input; it is ended without its work when all went well."""
    guard = subprocess.Popen(["/bin/sh", "-c", _GUARD], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield guard
    finally:
        guard.kill()
        guard.wait()
        if guard.stdin is not None:
            guard.stdin.close()
