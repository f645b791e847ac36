"""A small simulated set refined on a device and on the CPU: same poses, maps, resolution, and twice the same bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blush.config import RunConfig
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.geometry.symmetry import operators
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.layout import RunFolder
from blush.refine.state import State
from blush.refine.subset import HALVES
from blush.simulate.particle_set import simulate
from blush.simulate.settings import load_settings

PARTICLES, BOX_PX, PIXEL_ANGST = 120, 32, 5.25
ITERATIONS = 4
SAME_DEG = 0.1
"""Poses that differ by less are one: the finest step of these iterations is some degrees."""
LEAST_SAME, LEAST_CORRELATION, MOST_SHELLS = 0.98, 0.999, 1
"""Share of poses that are the same, correlation of each half's reference, shells between the resolutions."""
_SYMMETRY = "D4"


@dataclass(frozen=True)
class Agreement:
    """How two refinements of one set compare, and whether a third gave the bytes of the first.

    Attributes
    ----------
    same_poses
        Share of particles.
    correlation
        Between the references of one half, the smaller of both.
    shells_apart
        Between the resolutions.
    same_bytes
        Whether two runs agree, on the device.
    """

    same_poses: float
    correlation: float
    shells_apart: int
    same_bytes: bool
    compared_with: str

    @property
    def passed(self) -> bool:
        """Whether all is within its tolerance."""
        near = self.same_poses >= LEAST_SAME and self.correlation >= LEAST_CORRELATION
        return near and self.shells_apart <= MOST_SHELLS and self.same_bytes


def compared(device: str, folder: Path, seed: int) -> Agreement:
    """Refine on a device twice and on the CPU once: a GPU is compared with its float32, a CPU with its float64."""
    imaging = {"n_particles": PARTICLES, "box_px": BOX_PX, "pixel_size_angst": PIXEL_ANGST}
    settings = {"imaging": imaging, "noise": {"snr": 0.5}, "seed": seed, "output": folder / "set"}
    simulate(load_settings(None, settings))
    other = {"device": "cpu", "precision": "float64" if device == "cpu" else "float32"}
    first, state = _refined(folder, "first", {"device": device})
    again, _ = _refined(folder, "again", {"device": device})
    reference, expected = _refined(folder, "reference", other)
    resolutions = [PIXEL_ANGST * BOX_PX / one.resolution_angst for one in (state, expected)]
    return Agreement(
        _same_poses(first, reference),
        min(_correlation(first, reference, half) for half in range(2)),
        abs(round(resolutions[0]) - round(resolutions[1])),
        _digest(first) == _digest(again),
        f"the CPU in {other['precision']}",
    )


def _refined(folder: Path, name: str, compute: dict[str, Any]) -> tuple[RunFolder, State]:
    config = RunConfig.model_validate(
        {
            "name": name,
            "particles": folder / "set" / "particles.star",
            "reference": folder / "set" / "reference.mrc",
            "particle_diameter_angst": 150,
            "symmetry": _SYMMETRY,
            "mask": "sphere",
            "sampling": {"healpix_order": 1},
            "refinement": {"max_iterations": ITERATIONS + 1, "keep_iterations": ITERATIONS + 1},
            "compute": compute | {"memory_gb": 2, "shards_per_half": 2},
            "output": folder,
        }
    )
    steps.import_run(config)
    steps.start(config.run_dir)
    for iteration in range(1, ITERATIONS + 1):
        state = iterate(config.run_dir, iteration)
    return RunFolder(config.run_dir), state


def _same_poses(one: RunFolder, two: RunFolder) -> float:
    first, second = (_rotations(load_npz(folder.poses(ITERATIONS))) for folder in (one, two))
    mates = second[:, None] @ operators(_SYMMETRY)
    return float((angular_distance_deg(first[:, None], mates).amin(1) < SAME_DEG).double().mean())


def _rotations(poses: dict[str, np.ndarray]) -> torch.Tensor:
    return matrix_from_euler(torch.from_numpy(np.stack([poses[f"{name}_deg"] for name in ("rot", "tilt", "psi")], 1)))


def _correlation(one: RunFolder, two: RunFolder, half: int) -> float:
    first, second = (read_volume(folder.map(ITERATIONS, HALVES[half], "reference"))[0].ravel() for folder in (one, two))
    return float(np.corrcoef(first, second)[0, 1])


def _digest(folder: RunFolder) -> str:
    digest = hashlib.sha256()
    for half in HALVES:
        digest.update(folder.map(ITERATIONS, half, "reference").read_bytes())
    for name, column in sorted(load_npz(folder.poses(ITERATIONS)).items()):
        digest.update(name.encode() + np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()
