"""One run at a time in a folder, by a lock that the kernel frees however its holder ends."""

import fcntl
import os
import socket
from pathlib import Path
from typing import TextIO

from blush.errors import BlushError, Problem

_held: list[TextIO] = []


def hold_run(run: Path) -> None:
    """Keep every other run out of `run` until this process ends.

    Raises
    ------
    BlushError
        If another process holds the folder.
    """
    run.mkdir(parents=True, exist_ok=True)
    path = run / ".lock"
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "an unknown process"
        file.close()
        problem = Problem("is held by another run", "wait for it, or end it", file=str(path), value=holder)
        raise BlushError("this refinement is running already", [problem]) from None
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
    _held.append(file)
