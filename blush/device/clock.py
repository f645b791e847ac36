"""Seconds of work on a device, and how much of the time of a check is left."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

REPEATS = 5
LONGEST_S = 2.0
"""Repetition ends once it took that long."""


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told; a CPU has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of a few runs, after one that compiles and allocates."""
    work()
    finish(device)
    taken: list[float] = []
    while len(taken) < REPEATS and sum(taken) < LONGEST_S:
        begin = time.perf_counter()
        work()
        finish(device)
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


class Deadline:
    """What is left of the minutes that a check may take."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    @property
    def left_s(self) -> float:
        """Seconds; below 0 when the time is over."""
        return self._end - time.monotonic()
