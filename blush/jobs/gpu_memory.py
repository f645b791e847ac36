"""Whether the GPUs of this machine hold the largest steps of a run, before anything is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from blush.cluster.devices import GpuMemory, gpu_memory
from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.expectation.device_memory import CONTEXT_BYTES, DeviceSize
from blush.expectation.memory import StepSize, sphere_cells


def check_gpus(config: RunConfig, sizes: Sequence[StepSize]) -> None:
    """Hold what is free on the GPUs that workers will have against expectation steps of `sizes`, and the maps.

    Nothing is checked where workers run elsewhere, or nvidia-smi says nothing.

    Raises
    ------
    BlushError
        If one of them has too little for a single image, or for the maps.
    """
    gpus = _of_workers(config)
    if not gpus:
        return
    wanted = config.compute.workers
    sharing = 1 if wanted == "auto" else math.ceil(wanted / len(gpus))
    needs = [("the expectation step with data to Nyquist", _least(size)) for size in sizes]
    box_px = sizes[0].box_px
    if config.job != "classify":
        size = getattr(torch, config.compute.precision).itemsize
        needs.append(
            (
                "making the maps",
                (map_bytes(box_px, box_px // 2, size), "five sums of D and W, and two padded transforms"),
            )
        )
    step, (needed, terms) = max(needs, key=lambda need: need[1][0])
    short = [one for one in gpus if one.free_bytes / sharing < needed]
    if not short:
        return
    least = min(short, key=lambda one: one.free_bytes)
    share = f", which {sharing} workers share" if sharing > 1 else ""
    text = (
        f"{step} takes {needed / 1e9:.1f} GB of a GPU at a box of {box_px} px, where {least.name} has "
        f"{least.free_bytes / 1e9:.1f} of {least.total_bytes / 1e9:.1f} GB free{share}; in GB: {terms}"
    )
    remedy = "end what else uses it, give workers a GPU each, set compute.device: cpu, or refine smaller images"
    raise BlushError(
        "the GPU has too little memory",
        [Problem(text, remedy, where="compute.device", value=config.compute.device)],
    )


def map_bytes(box_px: int, radius: int, itemsize: int) -> int:
    """Peak of the maps of shells to a radius: context + 20 f c, five sums of D and W, + 2 f (2N)^3 to transform one."""
    return CONTEXT_BYTES + itemsize * (20 * sphere_cells(radius) + 2 * (2 * box_px) ** 3)


def _least(size: StepSize) -> tuple[int, str]:
    peak = DeviceSize(size).peak(1)
    return peak.total, str(peak)


def _of_workers(config: RunConfig) -> list[GpuMemory]:
    """Those that workers on this machine will have."""
    compute = config.compute
    if compute.pool in ("slurm", "attach"):
        return []
    gpus = gpu_memory()
    number = compute.device.partition(":")[2]
    return gpus[int(number) : int(number) + 1] if number else gpus
