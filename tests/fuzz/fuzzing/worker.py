"""One process that gives cases to one reader and tells what came of each, until it is killed or told to end."""

from __future__ import annotations

import importlib
import os
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import blush
from fuzzing.reader import Reader

CASE, STARTED, ACCEPTED, REFUSED = range(4)
"""Places of the clock that the parent watches."""
_PROGRAM = str(Path(blush.__file__).parent)
_PAGE_BYTES = resource.getpagesize()
_ADDRESS_BYTES = 4 << 30
_FILE_BYTES = 256 << 20
_LOOKS = 256
"""Cases between two looks at the memory that the process keeps."""


@dataclass(frozen=True)
class Limits:
    """What a case may take.

    Parameters
    ----------
    seconds
        Of wall-clock time.
    extra_bytes, factor
        Memory beside `factor` times the size of the file.
    """

    seconds: float = 10.0
    extra_bytes: int = 200_000_000
    factor: float = 10.0


@dataclass(frozen=True)
class Verdict:
    """What came of a case.

    Parameters
    ----------
    kind
        "accepted", "refused", or a failure: "crash", "wrong" (a value, or a refusal without use), "memory", "hang".
    place
        What tells failures of one cause from others.
    text
        The end of the traceback.
    """

    kind: str
    place: str = ""
    text: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether it may not happen."""
        return self.kind not in ("accepted", "refused")


class Judge:
    """Gives contents to a reader, and measures memory.

    Parameters
    ----------
    path
        Where each content is written before it is read.
    """

    def __init__(self, reader: Reader, path: Path, limits: Limits) -> None:
        self.reader, self.path, self.limits = reader, path, limits
        self._kept, self._peak, self._until_look = _resident_bytes(), _peak_bytes(), _LOOKS

    def __call__(self, content: bytes) -> Verdict:
        """Write a content, read it, judge."""
        self.path.write_bytes(content)
        try:
            verdict = Verdict("accepted" if self.reader.checked(self.path) else "refused")
        except MemoryError as error:
            verdict = Verdict("memory", _place_of(error), _end_of(error))
        except AssertionError as error:
            verdict = Verdict("wrong", _place_of(error), _end_of(error))
        except BaseException as error:  # a reader may raise a refusal and nothing else
            verdict = Verdict("crash", _place_of(error), _end_of(error))
        taken = self._taken_bytes()
        if not verdict.is_failure and taken > self.limits.extra_bytes + self.limits.factor * len(content):
            return Verdict("memory", f"{self.reader.name} peak", f"{taken / 1e6:.0f} MB for {len(content)} bytes")
        return verdict

    def _taken_bytes(self) -> float:
        """How far the peak of the process has risen above what it kept; 0 where this case did not raise it."""
        self._until_look -= 1
        if self._until_look == 0:
            self._until_look, self._kept = _LOOKS, _resident_bytes()
        before, self._peak = self._peak, _peak_bytes()
        return self._peak - self._kept if self._peak > before else 0


def work(connection: Connection, clock: Any, registry: str, name: str, folder: str, settings: dict[str, Any]) -> None:
    """Answer the orders ("cases", first, last, seed) and ("one", content) of the parent."""
    warnings.simplefilter("ignore")
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # warnings of readers; for good
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    try:
        reader: Reader = importlib.import_module(registry).READERS[name]
        examples = reader.examples(Path(folder), settings["collected"])
        judge = Judge(reader, Path(folder) / reader.file, settings["limits"])
        clock[STARTED] = time.monotonic()
        judge(examples[0])  # what is imported and kept at the first call is no memory of a case
        judge = Judge(reader, Path(folder) / reader.file, settings["limits"])
        _limit_address_space()
        clock[STARTED] = 0
        connection.send(("ready", len(examples)))
        while (order := connection.recv()) is not None:
            if order[0] == "one":
                clock[STARTED] = time.monotonic()
                connection.send(("verdict", judge(order[1])))
            else:
                _cases(connection, clock, judge, examples, *order[1:])
            clock[STARTED] = 0
    except EOFError:
        return
    except BaseException:  # the harness itself is at fault, and says so
        connection.send(("broken", traceback.format_exc()))


def _cases(
    connection: Connection, clock: Any, judge: Judge, examples: Sequence[bytes], first: int, last: int, seed: int
) -> None:
    """Judge a range of cases; those that fail are sent one by one, after a hog the process has to be another."""
    slowest, at, parent = 0.0, first, os.getppid()
    for number in range(first, last):
        if os.getppid() != parent:  # nobody is there any more to be told
            sys.exit()
        content = judge.reader.case(examples, seed, number)
        clock[CASE] = number
        clock[STARTED] = begun = time.monotonic()
        verdict = judge(content)
        spent = time.monotonic() - begun
        if spent > slowest:
            slowest, at = spent, number
        if verdict.kind == "accepted":
            clock[ACCEPTED] += 1
        elif verdict.kind == "refused":
            clock[REFUSED] += 1
        else:
            connection.send(("failure", number, content, verdict))
            if verdict.kind == "memory":
                break
    connection.send(("reached", number + 1, slowest, at))


def _limit_address_space() -> None:
    """What would take the whole machine's memory fails instead, and is seen."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * _PAGE_BYTES + _ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place_of(error: BaseException) -> str:
    """Kind of an error, and the last function of the program that it went through, or where there is none the last."""
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [found for found in frames if found[0].co_filename.startswith(_PROGRAM)]
    code, line = (frames if isinstance(error, AssertionError) or not own else own)[-1]
    return f"{type(error).__name__} at {Path(code.co_filename).name}:{line} {code.co_qualname}"


def _end_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error, limit=-6))[-3000:]


if sys.platform != "linux":
    raise ImportError("memory is measured as Linux tells it")
