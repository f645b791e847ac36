"""What the workers of these tests are asked to do."""

import os
import signal
import time
from pathlib import Path

from blush.errors import BlushError


def double(run: Path, value: int) -> int:
    return 2 * value


def wait(run: Path, name: str, seconds: float) -> int:
    """Note the start in a file, so that a test knows the task has begun."""
    (run / name).write_text(str(os.getpid()))
    time.sleep(seconds)
    return os.getpid()


def count(run: Path, name: str) -> int:
    """Number of calls under one name, each a line of a file."""
    with (run / name).open("a") as file:
        file.write("x")
    time.sleep(1)
    return len((run / name).read_text())


def threads(run: Path) -> int:
    import torch

    return torch.get_num_threads()


def mistake(run: Path) -> None:
    raise BlushError("cannot do it", ["a.mrc: is odd; crop it", "b.mrc: is odd; crop it"])


def bug(run: Path) -> None:
    raise ZeroDivisionError("of this test")


def die(run: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def compute_without_a_word(run: Path, name: str, seconds: float) -> int:
    """Keep Python's lock, so that no other thread of the worker runs, and compute for about some seconds."""
    start = time.perf_counter()
    sum(range(10**6))
    per_second = 10**6 / (time.perf_counter() - start)
    (run / name).write_text(str(os.getpid()))
    sum(range(int(seconds * per_second)))
    return os.getpid()
