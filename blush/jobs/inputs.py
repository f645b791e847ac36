"""Reading back what a run froze at import, and the computing environment of this process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.config.embedded import EmbeddedConfig
from blush.errors import BlushError, Problem
from blush.io.files import as_written, load_npz, read_record
from blush.io.particles import ParticleSet
from blush.io.seal import is_sealed
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked, content_digest
from blush.refine.state import ALGORITHM_VERSION, RefinementState, load_state
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
    rows
        Import rows of each half in processing order; index 0 is half 1.
    edges
        Shard s of a half holds rows[edges[s]:edges[s + 1]].
    operators
        (m, 3, 3) point-group operators, identity first.
    """

    rows: tuple[NDArray[np.int64], NDArray[np.int64]]
    edges: tuple[NDArray[np.int64], NDArray[np.int64]]
    operators: NDArray[np.float64]

    def shard(self, half: int, shard: int) -> NDArray[np.int64]:
        """Import rows of a shard."""
        index = Subset(half).index
        edges = self.edges[index]
        return self.rows[index][edges[shard] : edges[shard + 1]]

    def n_shards(self, half: int) -> int:
        """Shards of a half."""
        return len(self.edges[Subset(half).index]) - 1


def read_config(root: Path) -> RunConfig:
    """The resolved configuration of a run."""
    return _read_config(*_dated(root, "config.json"))


def read_plan(root: Path) -> Plan:
    """The frozen plan of a run."""
    return _read_plan(*_dated(root, "plan.npz"))


def read_frozen_particles(root: Path) -> ParticleSet:
    """The imported particles, with the poses they came with."""
    return _read_particles(*_dated(root, "particles.npz"))


def latest_state(run: Path) -> RefinementState | None:
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
        return Plan(
            (arrays["rows_half1"], arrays["rows_half2"]),
            (arrays["edges_half1"], arrays["edges_half2"]),
            arrays["operators"],
        )


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


def shard_key(folder: RunFolder, iteration: int, half: int) -> str:
    """Digest of all that a half's expectation step depends on: the run's identity, its state, poses and reference.

    The digests are those in the files' seals; the step that loads a file compares it with its seal.

    Raises
    ------
    DamagedFile
        If one of these files is missing or bears no seal.
    """
    digest, previous = xxhash.xxh3_128(str(ALGORITHM_VERSION).encode()), iteration - 1
    paths = (folder.identity, folder.state(previous), folder.poses(previous), folder.reference(previous, half))
    for path in paths:
        digest.update(content_digest(path).encode())
    return digest.hexdigest()[:12]


def missing_shards(root: Path, iteration: int, half: int) -> list[int]:
    """Shards of a half whose results are not on disk yet, or were cut short; `reduce_half` reads them whole."""
    folder, plan = RunFolder(root), read_plan(root)
    key = shard_key(folder, iteration, half)
    return [s for s in range(plan.n_shards(half)) if not is_sealed(folder.shard(iteration, half, s, key))]


def environment(config: RunConfig | EmbeddedConfig) -> tuple[torch.device, torch.dtype]:
    """Set this process up for reproducible work and return its device and real type.

    Raises
    ------
    BlushError
        If a GPU is asked for that is not there: the CPU never takes its place unasked; or compiled kernels without a
        compiler.
    """
    import torch

    from blush.fourier import native

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
