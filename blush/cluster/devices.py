"""What this machine offers: GPUs, cores and memory, without importing torch."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

SLURM_WORKERS = 4
_GIGABYTE = 1e9


def visible_gpus() -> list[str]:
    """Numbers of the GPUs this process may use, as CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1")]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    count = sum(line.startswith("GPU ") for line in listing.stdout.splitlines()) if listing.returncode == 0 else 0
    return [str(number) for number in range(count)]


def usable_cores() -> int:
    """Cores this process may use, under its affinity and its control group."""
    cores = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return cores


def free_memory_gb() -> float:
    """Memory that can be had without swapping, under the control group's limit."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    with suppress(OSError, ValueError):
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        free = min(free, limit - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    return free / _GIGABYTE


def devices_of_workers(kind: str, compute: Mapping[str, Any]) -> list[str | None]:
    """One entry per worker: the GPU that is to be its only one, or None to leave it as it finds things.

    Parameters
    ----------
    kind
        "local" or "slurm".
    compute
        Section `compute` of the configuration.
    """
    wanted, device = compute["workers"], compute["device"]
    if kind == "slurm":
        return [None] * (SLURM_WORKERS if wanted == "auto" else wanted)
    gpus = visible_gpus() if device in ("auto", "cuda") else []
    if gpus:
        count = len(gpus) if wanted == "auto" else wanted
        return [gpus[number % len(gpus)] for number in range(count)]
    if wanted == "auto":
        wanted = 1 if device.startswith("cuda") else _workers_on_cpu(compute)
    return [None] * wanted


def _workers_on_cpu(compute: Mapping[str, Any]) -> int:
    """As many as cores and memory allow."""
    by_cores = usable_cores() // compute["threads_per_worker"]
    return max(1, min(by_cores, int(free_memory_gb() // compute["memory_gb"])))
