"""Telling a worker that hangs from one that works: it neither answers nor computes. Only the standard library.

A worker answers from a thread of its own, twice a second, whatever it computes. Something that keeps that thread from
running (a call that holds Python's lock) uses processor time, and one that is stopped, or waits for what never comes,
does not. So a worker is given up where both are missing for `SILENT_SECONDS`.
"""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SILENT_SECONDS = 30.0
"""Limit for a worker that has joined: sixty of its beats."""
JOIN_SECONDS = 120.0
"""Limit for one that has not yet: torch may come from a slow file system, which takes time but no processor."""
_WORKING_SHARE = 0.02
_OWN_PAUSE_SECONDS = 10.0

ProcessorTime = Callable[[str], float | None]


@dataclass
class _Heart:
    """When a worker was last heard, and its processor time in the middle of the silence since."""

    beat: float | None
    heard: float
    measured: float | None = None
    processor_s: float | None = None


class Hearts:
    """Watches the workers of a pool.

    Parameters
    ----------
    processor_time
        Seconds of processor time that the worker of a name has used; None where that cannot be known.
    clock
        Seconds that never go back.
    """

    def __init__(self, processor_time: ProcessorTime, clock: Callable[[], float] = time.monotonic) -> None:
        self._processor_time, self._clock = processor_time, clock
        self._hearts: dict[str, _Heart] = {}
        self._looked = clock()

    def hung(self, beats: Mapping[str, float | None]) -> list[str]:
        """Names of the workers to give up.

        Parameters
        ----------
        beats
            By name, the time of the last beat on whatever clock, None before the first.
        """
        now = self._clock()
        own_pause = now - self._looked > _OWN_PAUSE_SECONDS  # this process was stopped itself: nobody was listened to
        self._looked = now
        kept = {}
        for name, beat in beats.items():
            heart = self._hearts.get(name)
            kept[name] = _Heart(beat, now) if own_pause or heart is None or heart.beat != beat else heart
        self._hearts = kept
        return [name for name, heart in kept.items() if self._is_hung(name, heart, now)]

    def _is_hung(self, name: str, heart: _Heart, now: float) -> bool:
        limit = JOIN_SECONDS if heart.beat is None else SILENT_SECONDS
        if heart.measured is None:
            if now - heart.heard >= limit / 2:
                heart.measured, heart.processor_s = now, self._processor_time(name)
            return False
        if now - heart.heard < limit or now - heart.measured < limit / 2:
            return False
        used = self._processor_time(name)
        if used is None or heart.processor_s is None:
            return heart.beat is not None  # one that never joined may not have been started yet
        if abs(used - heart.processor_s) < _WORKING_SHARE * (now - heart.measured):
            return True
        heart.measured, heart.processor_s = now, used
        return False


def processor_seconds(pid: int) -> float | None:
    """Processor time of a process of this machine with all its threads; None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_processor_seconds(path: Path) -> float | None:
    """What `write_processor_seconds` has written; None before it has."""
    try:
        return float(path.read_text())
    except (OSError, ValueError):  # not there, or being written
        return None


def write_processor_seconds(path: Path, pid: int) -> None:
    """Write the processor time of a process of this machine into a file that others can see."""
    if (used := processor_seconds(pid)) is not None:
        path.write_text(f"{used:.2f}\n")
