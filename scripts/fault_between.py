"""Faults of a workflow between two starts of it: to times, inputs, settings, and to what Snakemake keeps."""

import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from fault_kinds import READ_AGAIN, damage
from fault_runs import Bench, configure

Undo = Callable[[], None]
Between = tuple[str, Undo | None]
"""What was done, and what takes the cause away where a message is the right answer."""
YEAR_S = 3.15e7


def _files(place: Path) -> list[Path]:
    return sorted(path for path in (place / "results/run").rglob("*") if path.is_file())


def _touched_input(bench: Bench, place: Path, rng: random.Random) -> Between:
    path = rng.choice([place / "particles/particles.star", place / "particles/reference.mrc"])
    path.touch()
    return f"touched {path.name}", None


def _future(bench: Bench, place: Path, rng: random.Random) -> Between:
    own = [path for path in (place / "particles").rglob("*") if path.is_file()]
    chosen = [path for path in (*_files(place), *own) if rng.random() < 0.5]
    for path in chosen:
        os.utime(path, (time.time() + YEAR_S,) * 2)
    return f"{len(chosen)} files dated a year ahead", None


def _shuffled(bench: Bench, place: Path, rng: random.Random) -> Between:
    paths = _files(place)
    rng.shuffle(paths)
    for number, path in enumerate(paths):
        os.utime(path, (time.time() - 9000 + number,) * 2)
    return f"times of {len(paths)} files in another order", None


def _forgotten(bench: Bench, place: Path, rng: random.Random) -> Between:
    shutil.rmtree(place / ".snakemake", ignore_errors=True)
    return "deleted .snakemake", None


def _stale_locks(bench: Bench, place: Path, rng: random.Random) -> Between:
    """As a machine leaves them that lost its power."""
    run = place / "results/run"
    run.mkdir(parents=True, exist_ok=True)
    (run / ".lock").write_text("process 1 on another host\n", encoding="utf-8")
    locks = place / ".snakemake/locks"
    locks.mkdir(parents=True, exist_ok=True)
    (locks / "0.output.lock").write_text("\n".join(str(path) for path in _files(place)), encoding="utf-8")
    return "locks left behind", None


def _damaged(bench: Bench, place: Path, rng: random.Random) -> Between:
    """The run as it was at a stage, with one of the files that it goes on from damaged."""
    stage = rng.choice(list(READ_AGAIN))
    run = place / "results/run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(bench.work / "stages" / stage, run)
    path = rng.choice(sorted(run.glob(rng.choice(READ_AGAIN[stage]))))
    action = rng.choice(["flip", "truncate", "zero", "delete", "swap"])
    damage(path, action, bench.work / "other" / stage / path.relative_to(run), rng)
    return f"{action} {path.relative_to(run)} ({stage})", None


def _changed_settings(bench: Bench, place: Path, rng: random.Random) -> Between:
    text = (place / "run.yaml").read_text(encoding="utf-8")
    changes = rng.choice([{"seed": 7}, {"symmetry": "C1"}, {"sede": 7}])
    configure(place, place / "particles", **changes)

    def undo() -> None:
        (place / "run.yaml").write_text(text, encoding="utf-8")

    return f"{next(iter(changes))} changed", undo


def _changed_input(bench: Bench, place: Path, rng: random.Random) -> Between:
    own = place / "particles"
    path = rng.choice([own / "particles.star", own / "reference.mrc", *sorted(own.rglob("*.mrcs"))])
    before, times = path.read_bytes(), path.stat()
    damage(path, rng.choice(["flip", "truncate", "delete"]), path, rng)
    if path.exists():
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    return f"changed {path.relative_to(own)} at its old time", lambda: path.write_bytes(before) and None


def _foreign_rest(bench: Bench, place: Path, rng: random.Random) -> Between:
    """The end of another run's iteration copied over this one's, as by a backup put back into the wrong folder."""
    run, other = place / "results/run", bench.work / "other/second"
    name = rng.choice(["it001", "it002", "import"])
    shutil.copytree(other / name, run / name, dirs_exist_ok=True)
    return f"{name} of another run put over it", None


BETWEEN: dict[str, Callable[[Bench, Path, random.Random], Between]] = {
    "touched input": _touched_input,
    "future dates": _future,
    "times shuffled": _shuffled,
    ".snakemake deleted": _forgotten,
    "stale locks": _stale_locks,
    "damaged file": _damaged,
    "settings changed": _changed_settings,
    "input changed": _changed_input,
    "another run's folder": _foreign_rest,
}
