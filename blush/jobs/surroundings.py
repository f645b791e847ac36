"""What a run needs of the machine that it is started on, looked at before anything is computed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import torch

from blush.config import RunConfig
from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem
from blush.jobs.inputs import environment
from blush.regularise.base import Regulariser


def check_surroundings(config: RunConfig) -> list[Problem]:
    """Device, kernels, folders and the queue, as far as they are this machine's."""
    compute = config.compute
    pool = os.environ.get("BLUSH_POOL", "local") if compute.pool == "auto" else compute.pool
    problems = [*_no_place(config.run_dir, "output")]
    if compute.scheduler_file is not None:
        remedy = "start the scheduler, or correct the path"
        problem = unreadable(compute.scheduler_file, remedy)
        problems += [] if problem is None else [problem]
    if pool == "slurm" and shutil.which("sbatch") is None:
        remedy = "start the run where SLURM is, or set compute.pool: local"
        problems.append(Problem("SLURM's sbatch is not on PATH", remedy, where="compute.pool", value=pool))
    if pool not in ("local", "inline"):
        return problems
    if compute.scratch is not None:
        problems += _no_place(compute.scratch, "compute.scratch")
    try:
        environment(config)
    except BlushError as error:
        problems.append(Problem(error.title, where="compute"))
    return problems


def _no_place(folder: Path, setting: str) -> list[Problem]:
    """Why a folder cannot be made and written to."""
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not there.is_dir():
        problem = Problem("is not a folder", "name another place, or move that file", str(there), setting)
    elif not os.access(there, os.W_OK | os.X_OK):
        problem = Problem("cannot be written to", "name another place, or give permission there", str(there), setting)
    else:
        return []
    return [problem]


def check_method(config: RunConfig, method: Regulariser, box_px: int, pixel_size_angst: float) -> list[Problem]:
    """Why a regulariser cannot work on maps of this box, where none are needed to know; with a fallback it may fail."""
    if config.regulariser.fallback != "error":
        return []
    reason = method.refuses(box_px, pixel_size_angst, config.particle_diameter_angst, _device(config))
    return [] if reason is None else [Problem(reason, where="regulariser")]


def _device(config: RunConfig) -> str:
    """The kind of device that makes the maps, as far as it is known here."""
    if config.compute.device != "auto":
        return config.compute.device
    return "cuda" if torch.cuda.is_available() or config.compute.pool in ("slurm", "attach") else "cpu"
