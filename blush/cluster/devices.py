"""What this machine offers: GPUs, cores and memory, without importing torch."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SLURM_WORKERS = 4
_GIGABYTE = 1e9
OWN_GROUPS, GROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")
"""Where the kernel names the control groups of this process, and where they are."""


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


@dataclass(frozen=True)
class GpuMemory:
    """A GPU by name, and its memory in bytes."""

    name: str
    free_bytes: int
    total_bytes: int


def gpu_memory() -> list[GpuMemory]:
    """Memory of the GPUs this process may use, in the order of `visible_gpus`; nothing where nvidia-smi says nothing.

    Without torch, which would keep part of that memory for as long as this process lives.
    """
    command = ["nvidia-smi", "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    found = []
    for number in visible_gpus():
        try:
            done = subprocess.run([*command, "-i", number], capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return []
        fields = [field.strip() for field in done.stdout.strip().split(",")]
        if done.returncode != 0 or len(fields) != 3 or not all(field.isdigit() for field in fields[1:]):
            return []
        found.append(GpuMemory(f"GPU {number} ({fields[0]})", int(fields[1]) * 2**20, int(fields[2]) * 2**20))
    return found


def usable_cores() -> int:
    """Cores this process may use, under its affinity and its control groups."""
    cores = len(os.sched_getaffinity(0))
    for folder in control_groups("cpu"):
        text = (_read(folder / "cpu.max") or "").split() or [
            _read(folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period")
        ]
        if len(text) == 2 and all(number.isdigit() for number in text):  # "max" and -1 are no limit
            cores = min(cores, max(1, int(text[0]) // int(text[1])))
    return cores


def free_memory_gb() -> float:
    """Memory that can be had without swapping, under the limits of the control groups.

    What a group holds as copies of files it has read counts as free: the kernel gives that back first.
    """
    lines = Path("/proc/meminfo").read_text().splitlines()
    free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    for folder in control_groups("memory"):
        for limit, used, kept in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            amounts = [_read(folder / name) or "" for name in (limit, used)]
            if all(amount.isdigit() for amount in amounts):
                free = min(free, int(amounts[0]) - int(amounts[1]) + _entry(folder / "memory.stat", kept))
    return max(free, 0) / _GIGABYTE


def control_groups(controller: str) -> list[Path]:
    """Folders of the control groups that limit this process, version 1 and 2, its own and all above.

    Inside a container the path that the kernel names may lie outside of what is seen; the groups above it still count.
    """
    found = []
    for line in (_read(OWN_GROUPS) or "").splitlines():
        number, names, path = line.split(":", 2)
        if number == "0":
            mounts = [GROUPS, GROUPS / "unified"]
        elif controller in names.split(","):
            mounts = [GROUPS / names, GROUPS / controller]
        else:
            continue
        for mount in mounts:
            own = mount / path.lstrip("/")
            found += [folder for folder in (own, *own.parents) if folder.is_relative_to(mount) and folder.is_dir()]
    return list(dict.fromkeys(found))


def _read(path: Path) -> str | None:
    """A small file of the kernel's; None where there is none."""
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _entry(path: Path, name: str) -> int:
    """A number in a table of the kernel's; 0 where it is not there."""
    lines = (line.split() for line in (_read(path) or "").splitlines())
    return next((int(line[1]) for line in lines if line[0] == name), 0)


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
