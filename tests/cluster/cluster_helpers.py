"""Short names for these tests."""

import os
import time
from pathlib import Path

from blush.cluster.task import Task
from blush.config.sections import Compute


def compute(**changes):
    """Section `compute` as a client reads it."""
    settings = {"workers": 2, "device": "cpu", "pool": "local", **changes}
    return Compute(**settings).model_dump(mode="json")


def task(run, key, function, *args):
    return Task(key, f"toy_tasks:{function}", str(run), args)


def until(condition, seconds=30.0):
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
