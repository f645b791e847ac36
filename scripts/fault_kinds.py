"""Kinds of faults of a refinement in one process. Each makes a folder, disturbs a run in it, and says what it did."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fault_runs import STAGES, Bench, Ended, Process, Setup, configure, nothing, progress, small_files, upgraded


@dataclass(frozen=True)
class Fault:
    """A fault that has happened, and how the disturbed command ended."""

    what: str
    place: Path
    ended: Ended
    undo: Callable[[], None] | None = None  # takes the cause away; None: do what the message says


READ_AGAIN = {
    "imported": ("import/config.json", "import/plan.npz", "import/particles.npz", "import/reference.mrc"),
    "started": ("it000/state.json", "it000/poses.npz", "run_it000_half*_class001.mrc", "import/*.npz"),
    "second": ("it002/state.json", "it002/poses.npz", "it002/directions.npz", "run_it002_half*_class001.mrc"),
    "shards": ("it003/half?_shard*.npz", "it003/half1_sums.npz", "it003/half1_statistics.npz", ".identity.json"),
    "sums": ("it003/half?_sums.npz", "it003/half?_statistics.npz"),
    "maps": ("it003/maps.npz", "it003/half?_statistics.npz", "import/particles.star"),
    "ended": ("it003/state.json", "it003/poses.npz", "run_half?_class001_unfil.mrc"),
}
"""Files of each stage that a later step reads."""


def _moment(process: Process, place: Path, rng: random.Random) -> str:
    """Let a process go on to a random moment: after some lines of its log and up to 0.3 s more."""
    wanted, delay = progress(place) + rng.randrange(0, 24), rng.random() * 0.3
    while process.alive() and progress(place) < wanted:
        time.sleep(0.002)
    time.sleep(delay)
    return f"after {progress(place)} lines of progress"


def _signalled(number: int) -> Callable[[Bench, str, random.Random], Fault]:
    def inject(bench: Bench, name: str, rng: random.Random) -> Fault:
        stage = rng.choice([None, "second"])
        place = bench.place(name, stage)
        process = Process(place)
        when = _moment(process, place, rng)
        os.kill(process.pid, number)
        ended = process.ended()
        if number == signal.SIGINT and ended.code is not None and ended.code > 0:
            ended = Ended(-number, ended.said)  # stopped as asked: it need not say a remedy, but a traceback is judged
        return Fault(f"{signal.Signals(number).name} {when}", place, ended)

    return inject


def _stopped(bench: Bench, name: str, rng: random.Random) -> Fault:
    place = bench.place(name)
    process = Process(place)
    when = _moment(process, place, rng)
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1 + rng.random())
    os.kill(process.pid, signal.SIGCONT)
    return Fault(f"stopped and continued {when}", place, process.ended())


def _twice(bench: Bench, name: str, rng: random.Random) -> Fault:
    place = bench.place(name)
    first = Process(place)
    when = _moment(first, place, rng)
    second = Process(place).ended()
    ended = first.ended()
    if second.code != 0 and not second.told:
        ended = Ended(1, f"Traceback of the second start: {second.said}")
    return Fault(f"started twice, the second {when}", place, ended)


def _full_disk(bench: Bench, name: str, rng: random.Random) -> Fault:
    stage = rng.choice([None, *STAGES[1:]])
    place = bench.place(name, stage)
    limit = rng.choice([200, 1000, 4000, 20_000, 60_000, 130_000])
    process = Process(place, small_files(limit))
    what = f"no file over {limit} bytes can be written, from {stage or 'nothing'}"
    return Fault(what, place, process.ended(), nothing)


def _damaged(action: str) -> Callable[[Bench, str, random.Random], Fault]:
    def inject(bench: Bench, name: str, rng: random.Random) -> Fault:
        stage = rng.choice(list(READ_AGAIN))
        place = bench.place(name, stage)
        run = place / "results/run"
        pattern = rng.choice(READ_AGAIN[stage])
        found = sorted(run.glob(pattern))
        if not found:
            raise RuntimeError(f"{run} has no {pattern}")
        path = rng.choice(found)
        damage(path, action, bench.work / "other" / stage / path.relative_to(run), rng)
        return Fault(f"{action} {path.relative_to(run)} ({stage})", place, Process(place).ended())

    return inject


def damage(path: Path, action: str, other: Path, rng: random.Random) -> None:
    """Flip a bit of a file, cut it, zero a part of it, delete it, or put another run's in its place."""
    content = bytearray(path.read_bytes())
    if action == "delete":
        path.unlink()
        return
    if action == "swap":
        candidates = [other, *sorted(other.parent.glob(f"{path.name.rsplit('_', 1)[0]}_*{path.suffix}"))]
        content = bytearray(next(each for each in candidates if each.is_file()).read_bytes())
    elif action == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif action == "truncate":
        del content[rng.randrange(len(content)) :]
    elif action == "zero":
        start = rng.randrange(len(content))
        end = min(len(content), start + 4096)
        content[start:end] = bytes(end - start)
    path.write_bytes(content)


def _inputs(bench: Bench, place: Path) -> Path:
    """Particles of this fault's own."""
    own = Path(shutil.copytree(bench.particles, place / "particles"))
    configure(place, own)
    return own


def _changed_input(bench: Bench, name: str, rng: random.Random) -> Fault:
    """Kill a run that has begun, change an input, and start again."""
    place = bench.place(name)
    own = _inputs(bench, place)
    process = Process(place)
    while process.alive() and not (place / "results/run/it000/state.json").exists():
        time.sleep(0.005)  # before that the changed input is simply taken
    when = _moment(process, place, rng)
    os.kill(process.pid, signal.SIGKILL)
    process.ended()
    path = rng.choice([own / "particles.star", own / "reference.mrc", *sorted(own.rglob("*.mrcs"))])
    before, times = path.read_bytes(), path.stat()
    damage(path, rng.choice(["flip", "truncate", "delete"]), path, rng)
    if path.exists() and rng.random() < 0.5:
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as an rsync does it

    def undo() -> None:
        path.write_bytes(before)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    ended = Process(place).ended()
    return Fault(f"changed {path.relative_to(own)} {when}", place, ended, undo)


def _late(bench: Bench, name: str, rng: random.Random) -> Fault:
    """An input that shows up later than the command."""
    place = bench.place(name)
    own = _inputs(bench, place)
    path = rng.choice([own / "particles.star", own / "reference.mrc", *sorted(own.rglob("*.mrcs"))])
    away = path.with_name("not_there_yet")
    path.rename(away)
    ended = Process(place).ended()
    return Fault(f"{path.relative_to(own)} comes late", place, ended, lambda: away.rename(path) and None)


def _settings(bench: Bench, name: str, rng: random.Random) -> Fault:
    stage = rng.choice(STAGES[1:])
    place = bench.place(name, stage)
    changes: dict[str, object] = rng.choice(
        [{"seed": 7}, {"symmetry": "C1"}, {"particle_diameter_angst": 150}, {"initial_lowpass_angst": 30}, {"sede": 7}]
    )
    configure(place, bench.particles, **changes)
    ended = Process(place).ended()
    what = f"{next(iter(changes))} changed from {stage}"
    return Fault(what, place, ended, lambda: configure(place, bench.particles))


def _clock(bench: Bench, name: str, rng: random.Random) -> Fault:
    stage = rng.choice(STAGES)
    place = bench.place(name, stage)
    shift_s = rng.choice([-1e8, -3600, 3600, 1e8])
    for path in (place / "results/run").rglob("*"):
        if path.is_file() and rng.random() < 0.7:
            os.utime(path, (time.time() + shift_s, time.time() + shift_s))
    return Fault(f"times of files moved by {shift_s:g} s ({stage})", place, Process(place).ended())


def _upgraded(bench: Bench, name: str, rng: random.Random) -> Fault:
    stage = rng.choice(STAGES[1:])
    place = bench.place(name, stage)
    setup: Setup = upgraded
    return Fault(f"a Blush of other results, from {stage}", place, Process(place, setup).ended(), nothing)


KINDS: dict[str, Callable[[Bench, str, random.Random], Fault]] = {
    "kill": _signalled(signal.SIGKILL),
    "terminate": _signalled(signal.SIGTERM),
    "cancel": _signalled(signal.SIGINT),
    "stop": _stopped,
    "twice": _twice,
    "full disk": _full_disk,
    "flip": _damaged("flip"),
    "truncate": _damaged("truncate"),
    "zero": _damaged("zero"),
    "delete": _damaged("delete"),
    "swap": _damaged("swap"),
    "input": _changed_input,
    "late": _late,
    "settings": _settings,
    "clock": _clock,
    "upgrade": _upgraded,
}
