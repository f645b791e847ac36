"""Who holds the folder of a run, and whether that process still lives: a slow run told from a dead one."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

_HOLDER = re.compile(r"process (\d+) on (\S+)\n?")
_CLOCK_SECONDS = 2.0
"""By so much may a file's time and a process's differ."""


@dataclass(frozen=True)
class Holder:
    """The last process that held a run's folder.

    Attributes
    ----------
    lives
        Whether it still does; None where it is one of another machine, which cannot be seen from here.
    """

    pid: int
    host: str
    lives: bool | None

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def holder_of(run: Path) -> Holder | None:
    """The last holder of a run's folder by its lock file; None where none has written its name there."""
    path = run / ".lock"
    try:
        found, since = _HOLDER.fullmatch(path.read_text(encoding="utf-8", errors="replace")), path.stat().st_mtime
    except FileNotFoundError:
        return None
    if found is None:
        return None
    pid, host = int(found[1]), found[2]
    return Holder(pid, host, _lives(pid, since) if host == socket.gethostname() else None)


def _lives(pid: int, since: float) -> bool:
    """Whether a process runs that is no younger than its name in the lock: numbers of processes are used again."""
    try:
        process = psutil.Process(pid)
        return process.create_time() <= since + _CLOCK_SECONDS and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
