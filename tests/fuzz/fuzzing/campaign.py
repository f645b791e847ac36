"""Many cases for many readers: one process each, watched from outside, every failure made smaller and kept."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzzing.reader import Reader
from fuzzing.worker import ACCEPTED, CASE, REFUSED, STARTED, Limits, Verdict, work

_LOOK_S = 0.05
_TELL_S = 10.0
_SMALLER_S, _SMALLER_TRIES, _COSTLY_TRIES = 20.0, 300, 12
_KEPT_OF_A_PLACE = 3
_START_S = 120.0


@dataclass(frozen=True)
class Plan:
    """What a campaign does.

    Parameters
    ----------
    registry
        Module, importable in the workers too, whose READERS are tried.
    scratch
        Folder in memory, for the cases.
    out
        Where failures are kept.
    collected
        Folder of hostile files that were collected before, or None.
    """

    registry: str
    seed: int
    scratch: Path
    out: Path
    collected: Path | None = None
    limits: Limits = field(default_factory=Limits)
    tell: Callable[[str], None] = lambda text: None


@dataclass
class Tally:
    """What came of the cases of one reader.

    Parameters
    ----------
    kinds
        Number of cases by kind of verdict.
    places
        Number of failures by kind and place.
    """

    reader: str
    kinds: Counter[str] = field(default_factory=Counter)
    places: Counter[tuple[str, str]] = field(default_factory=Counter)
    seconds: float = 0.0
    slowest: tuple[float, int] = (0.0, 0)

    @property
    def cases(self) -> int:
        """Cases that were judged."""
        return sum(self.kinds.values())

    @property
    def failures(self) -> int:
        """Cases that were neither accepted nor refused."""
        return self.cases - self.kinds["accepted"] - self.kinds["refused"]


class Bench:
    """The process of one reader, and a new one where it was killed."""

    def __init__(self, plan: Plan, reader: str) -> None:
        self.plan, self.reader = plan, reader
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["fuzzing.registry", plan.registry])
        self.clock = self._context.RawArray("d", 4)
        self._process: Any = None
        self._connection: Any = None

    def messages(self, *order: Any) -> Iterator[tuple[Any, ...]]:
        """Answers to an order; the last is ("hung",) or ("died", exit code) where there is none."""
        if self._process is None:
            self._start()
        self._connection.send(order)
        while True:
            if self._connection.poll(_LOOK_S):
                try:
                    message = self._connection.recv()
                except EOFError:
                    self._process.join()
                    code = self._process.exitcode
                    self.end()
                    yield ("died", code)
                    return
                if message[0] == "broken":
                    raise RuntimeError(f"the harness failed in {self.reader}:\n{message[1]}")
                yield message
                if message[0] in ("reached", "verdict"):
                    return
            elif self.clock[STARTED] and time.monotonic() - self.clock[STARTED] > self.plan.limits.seconds:
                self.end()
                yield ("hung",)
                return
            else:
                yield ("waiting",)

    def one(self, content: bytes) -> Verdict:
        """Verdict on a content, in a process that has seen no hog."""
        *_, last = self.messages("one", content)
        verdict = _verdict(last)
        if verdict.kind == "memory":
            self.end()
        return verdict

    def end(self) -> None:
        """Kill the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None

    def _start(self) -> None:
        self.clock[:] = [0.0] * 4
        self._connection, theirs = self._context.Pipe()
        settings = {"collected": self.plan.collected, "limits": self.plan.limits}
        folder = str(self.plan.scratch / self.reader)
        arguments = (theirs, self.clock, self.plan.registry, self.reader, folder, settings)
        self._process = self._context.Process(target=work, args=arguments, daemon=True)
        with _importable():
            self._process.start()
        theirs.close()
        if not self._connection.poll(_START_S):
            self.end()
            raise RuntimeError(f"the examples of {self.reader} were not made within {_START_S:.0f} s")
        message = self._connection.recv()
        if message[0] != "ready":
            raise RuntimeError(f"the harness failed in {self.reader}:\n{message[1]}")


@contextmanager
def _importable() -> Iterator[None]:
    """Let the server from which processes are forked import this package, too: it knows the environment alone."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parents[1]), *([before] if before else [])])
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ |= {} if before is None else {"PYTHONPATH": before}


def _verdict(message: tuple[Any, ...]) -> Verdict:
    """Verdict of an answer, be it that there is none."""
    if message[0] == "verdict":
        verdict: Verdict = message[1]
        return verdict
    if message[0] == "hung":
        return Verdict("hang", "no answer", "longer than the limit")
    return Verdict("crash", f"the process died with {message[1]}", "a signal, not an exception")


def run(plan: Plan, readers: Mapping[str, Reader], cases: Mapping[str, int]) -> list[Tally]:
    """Try so many cases of each reader, one reader after the other."""
    tallies = []
    for name, count in cases.items():
        tallies.append(_reader(plan, readers[name], count))
        plan.tell(line(tallies[-1]))
        shutil.rmtree(plan.scratch / name, ignore_errors=True)
    return tallies


def shares(readers: Mapping[str, Reader], total: int) -> dict[str, int]:
    """A number of cases for each reader, by their shares; at least one each."""
    whole = sum(reader.share for reader in readers.values())
    return {name: max(1, round(total * reader.share / whole)) for name, reader in readers.items()}


def line(tally: Tally) -> str:
    """One line of the summary."""
    kinds = tally.kinds
    rate = tally.cases / max(tally.seconds, 1e-9)
    numbers = " ".join(f"{kinds[kind]:>8}" for kind in ("refused", "accepted", "crash", "wrong", "hang", "memory"))
    slowest = f"{1e3 * tally.slowest[0]:8.1f}"
    return f"{tally.reader:<22} {tally.cases:>8} {numbers} {tally.seconds:>8.1f} {rate:>9.0f} {slowest}"


HEAD = f"{'reader':<22} {'cases':>8} " + " ".join(
    f"{name:>8}" for name in ("refused", "accepted", "crashes", "wrong", "hangs", "memory", "seconds")
)
HEAD += f" {'cases/s':>9} {'slowest':>8}"
"""Seconds of wall-clock time; the slowest case in ms."""


def _reader(plan: Plan, reader: Reader, count: int) -> Tally:
    """Try the cases of one reader; what hangs or hogs costs its process, and the next case has a new one."""
    tally, bench = Tally(reader.name), Bench(plan, reader.name)
    begun = told = time.monotonic()
    first = 0
    try:
        while first < count:
            answer: tuple[Any, ...] = ()
            bench.clock[ACCEPTED] = bench.clock[REFUSED] = 0
            for answer in bench.messages("cases", first, count, plan.seed):
                if answer[0] == "failure":
                    _note(plan, tally, reader, *answer[1:])
                if time.monotonic() - told > _TELL_S:
                    told = time.monotonic()
                    plan.tell(f"  {reader.name}: {bench.clock[CASE]:.0f} of {count}, {tally.failures} failed")
            tally.kinds["accepted"] += int(bench.clock[ACCEPTED])
            tally.kinds["refused"] += int(bench.clock[REFUSED])
            if answer[0] == "reached":
                first = answer[1]
                tally.slowest = max(tally.slowest, (answer[2], answer[3]))
            else:
                number = int(bench.clock[CASE])
                _note(plan, tally, reader, number, None, _verdict(answer))
                first = number + 1
            if first < count:
                bench.end()
    finally:
        bench.end()
    tally.seconds = time.monotonic() - begun
    return tally


def _note(plan: Plan, tally: Tally, reader: Reader, number: int, content: bytes | None, verdict: Verdict) -> None:
    """Count a failure; the first ones of a place are kept, the very first made smaller."""
    tally.kinds[verdict.kind] += 1
    key = (verdict.kind, verdict.place)
    tally.places[key] += 1
    if tally.places[key] > _KEPT_OF_A_PLACE:
        return
    bench = Bench(plan, reader.name)
    bench.plan = Plan(**{**vars(plan), "scratch": plan.scratch / "smaller"})
    try:
        if content is None:
            examples = reader.examples(plan.scratch / "smaller" / reader.name, plan.collected)
            content = reader.case(examples, plan.seed, number)
        if tally.places[key] == 1:
            plan.tell(f"  {reader.name}, case {number}: {verdict.kind}, {verdict.place}")
            content = smaller(bench, content, verdict)
    finally:
        bench.end()
    keep(plan, reader, number, content, verdict)


def smaller(bench: Bench, content: bytes, verdict: Verdict) -> bytes:
    """Leave out what can be left out for the same failure, within some tries and seconds."""
    costly = verdict.kind in ("hang", "memory")  # each such try costs a process
    until, tries = time.monotonic() + _SMALLER_S, _COSTLY_TRIES if costly else _SMALLER_TRIES
    size = max(1, len(content) // 2)
    while size >= 1 and content:
        start = 0
        while start < len(content):
            if tries == 0 or time.monotonic() > until:
                return content
            tries -= 1
            trial = content[:start] + content[start + size :]
            found = bench.one(trial)
            if (found.kind, found.place) == (verdict.kind, verdict.place):
                content = trial
            else:
                start += size
        size //= 2
    return content


def keep(plan: Plan, reader: Reader, number: int, content: bytes, verdict: Verdict) -> Path:
    """Write a failing case, and beside it what was seen and how to see it again."""
    folder = plan.out / reader.name
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:07d}-{verdict.kind}.bin"
    path.write_bytes(content)
    again = f"python scripts/fuzz.py --reader {reader.name} --replay {path}"
    note = f"{verdict.kind}: {verdict.place}\n\n{again}\n\n{verdict.text}\n"
    path.with_suffix(".txt").write_text(note, encoding="utf-8", errors="backslashreplace")
    return path
