"""Readers of what a run writes and reads again: arrays, states, particles, seals, its log, the address of its pool."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from blush.cluster.resident import announced
from blush.io import seal
from blush.io.files import load_npz, save_npz, write_json
from blush.io.particles import ParticleSet, read_particles
from blush.io.seal import Owner
from blush.io.star import write_star
from blush.jobs.layout import RunFolder
from blush.jobs.progress import read_progress
from blush.jobs.sealed import read_identity, write_identity
from blush.refine.control import ControlSettings
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State, load_state, save_state
from blush.report.run_data import read_run
from fuzzing.mutate import BYTES, LINES, within_zip
from fuzzing.reader import Reader, finite
from fuzzing.tables import dialects, valid_particles
from fuzzing.trees import change_tree

_TREES = (*[change_tree] * 10, *LINES, *BYTES)
_ARRAYS = (*[within_zip(*BYTES)] * len(BYTES), *BYTES)
_OWNER = Owner("0123456789abcdef", "it001/case")


def state() -> State:
    """The state before iteration 1 of a box of 16 px."""
    geometry = ParticleGeometry(16, 3.0, 40.0, "C1", n_groups=2)
    return first_state(geometry, FirstSampling(), ControlSettings(), np.ones((2, 1, 9)), seed=3, first_cc=True)


def _states(folder: Path) -> list[bytes]:
    save_state(folder / "written.json", state())
    return [(folder / "written.json").read_bytes()]


def _state(path: Path) -> None:
    """What is accepted has finite spectra and is the same when it is written and read again."""
    found = load_state(path)
    parts = (found.images, found.references)
    arrays = [value for part in parts for value in vars(part).values() if isinstance(value, np.ndarray)]
    assert len(arrays) == 11
    assert finite(*arrays), "spectra that are no numbers"
    save_state(path.with_name("again.json"), found)
    assert load_state(path.with_name("again.json")) == found


def _arrays(folder: Path) -> list[bytes]:
    """Poses and sums as a run has them, packed and not."""
    poses = {name: np.linspace(0, 1, 5) for name in ("rot_deg", "tilt_deg", "psi_deg")}
    sums = {"grid_001": np.ones((3, 3, 2, 3), np.float32), "r_max": np.array(2), "name": np.array("a text")}
    found = []
    for content, compressed in ((poses, False), (sums, False), (sums, True)):
        save_npz(folder / "written.npz", content, compressed=compressed)
        found.append((folder / "written.npz").read_bytes())
    return found


def _npz(path: Path) -> None:
    for name, array in load_npz(path).items():
        assert isinstance(name, str)
        assert not array.dtype.hasobject


def _particle_sets(folder: Path) -> list[bytes]:
    found = []
    for number, content in enumerate(dialects(folder)[:2]):
        star = folder / f"source{number}.star"
        star.write_bytes(content.replace(b"mtf.star", b"None"))
        read_particles(star, find_stacks=False)[0].save(folder / "written.npz")
        found.append((folder / "written.npz").read_bytes())
    return found


def _particle_set(path: Path) -> None:
    valid_particles(ParticleSet.load(path))


def _sealed(suffix: str) -> Any:
    def examples(folder: Path) -> list[bytes]:
        path = folder / f"written{suffix}"
        with seal.sealed(path, _OWNER) as beside:
            if suffix == ".json":
                write_json(beside, {"a": 1, "b": [1, 2]})
            elif suffix == ".npz":
                save_npz(beside, {"a": np.arange(9)})
            else:
                write_star(beside, {"": {"rlnA": np.arange(9)}}, seal.blank_seal(_OWNER))
        return [path.read_bytes()]

    return examples


def _seal(path: Path) -> None:
    """Only the bytes that were written are accepted."""
    assert seal.verify(path, _OWNER) == seal.read_seal(path).digest
    assert seal.blank_seal(_OWNER)[:46].encode() in path.read_bytes(), "another's seal was accepted"


def _identities(folder: Path) -> list[bytes]:
    run = RunFolder(folder)
    write_identity(run, {"particles": '"0"', "algorithm": "7", "seed": "1"})
    return [run.identity.read_bytes()]


def _identity(path: Path) -> None:
    """A damaged identity is set aside, not read; set-aside files are removed again."""
    found = read_identity(RunFolder(path.parent))
    for aside in path.parent.glob("*.damaged-*"):
        aside.unlink()
    assert found is None or all(isinstance(key, str) for key in found)


def _logs(folder: Path) -> list[bytes]:
    lines = [{"stage": "expect", "time": 1.0, "iteration": 1}, {"stage": "converge", "time": 2.0, "seconds": 0.5}]
    return ["".join(json.dumps(line) + "\n" for line in lines).encode()]


def _log(path: Path) -> None:
    assert all("stage" in record and "time" in record for record in read_progress(path))


def _pools(folder: Path) -> list[bytes]:
    settings = {"kind": "local", "compute": {"workers": 1}, "version": "0", "python": "python"}
    content = {"job_name": "b", "host": "h", "pid": 12345, "port": 5, "settings": settings, "token": "t"}
    return [json.dumps(content).encode()]


def _pool(path: Path) -> None:
    """What is believed has everything that a client uses; nothing is connected to here."""
    found = announced(path.parent)
    if found is None:
        return
    kinds = {"job_name": str, "host": str, "pid": int, "port": int, "settings": dict, "token": str}
    assert all(isinstance(found.get(name), kind) for name, kind in kinds.items()), "an address without its parts"
    assert isinstance(found["settings"].get("kind"), str)


def _runs(folder: Path) -> list[bytes]:
    """A run folder as the report finds it after its first state; the state is what changes."""
    folder.joinpath("import").mkdir(exist_ok=True)
    write_json(folder / "import/config.json", {"name": "x"})
    folder.joinpath("it000").mkdir(exist_ok=True)
    save_state(folder / "it000/state.json", state())
    return [json.dumps({"warnings": [], "resolution_angst": 4.5, "truth": {}}).encode()]


def _run(path: Path) -> None:
    found = read_run(path.parent)
    assert isinstance(found.summary, dict)
    assert math.isfinite(found.box_angst)


READERS = (
    Reader("npz", "case.npz", _arrays, _npz, _ARRAYS, 6, hostile=("npz",)),
    Reader("particle_set", "case.npz", _particle_sets, _particle_set, (*_ARRAYS, within_zip(change_tree)), 3),
    Reader("state", "case.json", _states, _state, _TREES, 10, hostile=("state",)),
    Reader("seal_json", "case.json", _sealed(".json"), _seal, BYTES, 58),
    Reader("seal_npz", "case.npz", _sealed(".npz"), _seal, BYTES, 58),
    Reader("seal_star", "case.star", _sealed(".star"), _seal, BYTES, 58),
    Reader("identity", ".identity.json", _identities, _identity, _TREES, 10),
    Reader("progress", "case.jsonl", _logs, _log, _TREES, 50),
    Reader("pool", "pool.json", _pools, _pool, _TREES, 30, hostile=("poolfile",)),
    Reader("report_summary", "summary.json", _runs, _run, _TREES, 5),
)
