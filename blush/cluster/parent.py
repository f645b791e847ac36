"""Ending with one's parent: an orphan would go on writing behind the back of the next run."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Where BLUSH_PARENT_PID names the parent, have the kernel kill this process when the parent ends, however.

    The variable is taken out of the environment: what this process starts decides for itself.
    """
    parent = os.environ.pop("BLUSH_PARENT_PID", None)
    if parent is None:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it has ended before this call
        os.kill(os.getpid(), signal.SIGKILL)
