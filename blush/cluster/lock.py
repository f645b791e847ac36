"""Locks that the kernel frees however their holder ends: one run at a time in a folder, one pool started at a time.

Only the standard library.
"""

import errno
import fcntl
import hashlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blush.errors import BlushError, Problem

_NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}
"""What a file system without locks answers, as Lustre without `-o flock`."""


def hold_run(run: Path) -> None:
    """Keep every other run out of `run` until this process ends; the processes it starts do not hold the lock.

    Where the file system has no locks, runs of this machine are kept out, and a warning says so.

    Raises
    ------
    BlushError
        If another process holds the folder, or the folder cannot be written.
    """
    path = run / ".lock"
    handle = _opened(path)  # stays open: closing it would free the lock
    try:
        if not _locked(handle, wait=False):
            _locked_here(path, wait=False)
            sys.stderr.write(
                f"blush: warning: {path}: this file system has no locks; a second start is noticed on "
                f"{socket.gethostname()} only: start none on another machine while this one runs\n"
            )
    except BlockingIOError:
        os.close(handle)
        holder = path.read_text().strip() or "an unknown process"
        problem = Problem("is held by another run", "wait for it, or end it", file=str(path), value=holder)
        raise BlushError("this refinement is running already", [problem]) from None
    os.ftruncate(handle, 0)
    os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process of this machine is in such a block with the same path.

    Raises
    ------
    BlushError
        If the file cannot be written.
    """
    handles = [_opened(path)]
    try:
        if not _locked(handles[0], wait=True):
            handles.append(_locked_here(path, wait=True))
        yield
    finally:
        for handle in handles:
            os.close(handle)


def _opened(path: Path) -> int:
    """A file that is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        remedy = "make room or give permission there, or choose another folder (output)"
        problem = Problem(f"cannot be written: {os.strerror(error.errno or 0)}", remedy, str(path))
        raise BlushError("the results have nowhere to go", [problem]) from None


def _locked(handle: int, *, wait: bool) -> bool:
    """Lock an open file; False where its file system knows no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _locked_here(path: Path, *, wait: bool) -> int:
    """Lock this machine's stand-in for a file whose own file system knows no locks; the open stand-in."""
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:20]
    stand_in = Path(tempfile.gettempdir()) / f"blush-{os.getuid()}-{name}.lock"
    handle = os.open(stand_in, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        os.close(handle)
        if error.errno == errno.EACCES:
            raise BlockingIOError(errno.EAGAIN, "is locked") from None
        raise
    return handle
