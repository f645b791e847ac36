"""Reading back what a run froze at import, and the computing environment of this process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.config.embedded import EmbeddedConfig
from blush.errors import BlushError, Problem
from blush.io.files import as_written, load_npz, read_record
from blush.io.particles import ParticleSet
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.state import State, load_state
from blush.refine.subset import Subset

if TYPE_CHECKING:
    import torch

POSE_COLUMNS = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "norm_correction")
TABLE_COLUMNS = (*POSE_COLUMNS, "pmax", "n_significant", "log_likelihood")


@dataclass(frozen=True)
class Plan:
    """The frozen division of particles: part of the result, never derived from the number of workers.

    Attributes
    ----------
    subsets
        In the order of all arrays of the run that have one entry for each.
    rows
        Import rows of each subset in processing order, fold after fold.
    edges
        Shard s of a subset holds rows[edges[s]:edges[s + 1]].
    folds
        Fold of each shard of a subset, ascending from 0.
    operators
        (m, 3, 3) point-group operators, identity first.
    """

    subsets: tuple[Subset, ...]
    rows: tuple[NDArray[np.int64], ...]
    edges: tuple[NDArray[np.int64], ...]
    folds: tuple[NDArray[np.int64], ...]
    operators: NDArray[np.float64]

    @classmethod
    def of(cls, arrays: dict[str, NDArray[Any]]) -> Plan:
        """The plan that `plan_shards` drew."""
        subsets = tuple(subset for subset in Subset if f"rows_{subset.infix}" in arrays)
        rows, edges, folds = (
            tuple(arrays[f"{name}_{subset.infix}"] for subset in subsets) for name in ("rows", "edges", "folds")
        )
        return cls(subsets, rows, edges, folds, arrays["operators"])

    def position(self, subset: Subset) -> int:
        """Index of a subset in arrays that have one entry for each.

        Raises
        ------
        BlushError
            The run has no such subset.
        """
        if subset not in self.subsets:
            remedy = f"use one of {', '.join(one.infix for one in self.subsets)}"
            raise BlushError("no such subset", [Problem("is none of this run", remedy, value=subset.infix)])
        return self.subsets.index(subset)

    def shard(self, subset: Subset, shard: int) -> NDArray[np.int64]:
        """Import rows of a shard."""
        index = self.position(subset)
        edges = self.edges[index]
        return self.rows[index][edges[shard] : edges[shard + 1]]

    def n_shards(self, subset: Subset) -> int:
        """Shards of a subset."""
        return len(self.edges[self.position(subset)]) - 1

    def fold(self, subset: Subset, shard: int) -> int:
        """Fold in which a shard lies as a whole."""
        return int(self.folds[self.position(subset)][shard])

    @property
    def n_folds(self) -> int:
        """Folds of each subset."""
        return 1 + max(int(folds.max(initial=0)) for folds in self.folds)


def read_config(root: Path) -> RunConfig:
    """The resolved configuration of a run."""
    return _read_config(*_dated(root, "config.json"))


def read_plan(root: Path) -> Plan:
    """The frozen plan of a run."""
    return _read_plan(*_dated(root, "plan.npz"))


def read_frozen_particles(root: Path) -> ParticleSet:
    """The imported particles, with the poses they came with."""
    return _read_particles(*_dated(root, "particles.npz"))


def latest_state(run: Path) -> State | None:
    """State of the last finished iteration, None before the start."""
    folder, n = RunFolder(run.absolute()), 0
    if not folder.state(0).exists():
        return None
    while folder.state(n + 1).exists():
        n += 1
    return load_state(checked(folder, folder.state(n)))


def _dated(root: Path, name: str) -> tuple[Path, int]:
    """A frozen file and its time: workers outlive a run, so a file that was made anew must be read anew."""
    folder = RunFolder(root)
    path = folder.imported / name
    if not folder.imported.exists():
        problem = Problem("is missing", "run `blush import` first", str(path))
        raise BlushError("not an imported run", [problem])
    return path, path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=4)
def _read_config(path: Path, _time: int) -> RunConfig:
    content = read_record(_checked(path))
    with as_written(path):
        return RunConfig.model_validate(content)


@lru_cache(maxsize=4)
def _read_plan(path: Path, _time: int) -> Plan:
    arrays = load_npz(_checked(path))
    with as_written(path):
        return Plan.of(arrays)


@lru_cache(maxsize=2)
def _read_particles(path: Path, _time: int) -> ParticleSet:
    return ParticleSet.load(_checked(path))


def _checked(path: Path) -> Path:
    """A frozen file that is as import wrote it."""
    return checked(RunFolder(path.parent.parent), path)


def with_poses(particles: ParticleSet, poses: dict[str, NDArray[np.float64]], rows: NDArray[np.int64]) -> ParticleSet:
    """Particles at `rows`, posed as an iteration left them."""
    columns: dict[str, Any] = {name: poses[name][rows] for name in POSE_COLUMNS}
    return replace(particles.take(rows), **columns)


def environment(config: RunConfig | EmbeddedConfig) -> tuple[torch.device, torch.dtype]:
    """Set this process up for reproducible work and return its device and real type.

    Raises
    ------
    BlushError
        If a GPU is asked for that is not there: the CPU never takes its place unasked; or compiled kernels without a
        compiler.
    """
    import torch

    from blush.kernels import native

    torch.set_num_threads(config.compute.threads_per_worker)
    native.choose(config.compute.kernels)
    wanted = config.compute.device
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        if not torch.cuda.is_available():
            raise BlushError(
                f"compute.device is {wanted}, but torch {torch.__version__} sees no GPU here; "
                "set compute.device: cpu or install a CUDA build of torch"
            )
        if (torch.device(wanted).index or 0) >= torch.cuda.device_count():
            raise BlushError(
                f"compute.device is {wanted}, but there are {torch.cuda.device_count()} GPUs here, counted from 0"
            )
        torch.use_deterministic_algorithms(True)
    return torch.device(wanted), getattr(torch, config.compute.precision)
