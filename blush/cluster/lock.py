"""One run at a time in a folder, by a lock that the kernel frees however its holder ends."""

import fcntl
import os
import socket
from pathlib import Path

from blush.errors import BlushError, Problem


def hold_run(run: Path) -> None:
    """Keep every other run out of `run` until this process ends; the processes it starts do not hold the lock.

    Raises
    ------
    BlushError
        If another process holds the folder.
    """
    run.mkdir(parents=True, exist_ok=True)
    path = run / ".lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # stays open: closing it would free the lock
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        holder = path.read_text().strip() or "an unknown process"
        problem = Problem("is held by another run", "wait for it, or end it", file=str(path), value=holder)
        raise BlushError("this refinement is running already", [problem]) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
