"""Faults that a SLURM has for its jobs: ended, moved, out of time, without their node or their partition."""

import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import yaml
from fault_runs import ROOT, configure, progress

ON_JOBS = ("scancel worker", "requeue worker", "time limit", "drain node", "node down", "suspend worker", "cancel all")
"""Kinds whose victim is a running job."""
SLURM_KINDS = (
    *ON_JOBS, "kill worker", "kill pool", "kill rule", "kill snakemake", "terminate worker", "cancel snakemake",
    "stop worker", "stop pool", "start twice", "late log folder", "disk full", "settings changed", "input changed",
    "late input", "future dates", "upgraded package", "wrong partition",
)  # fmt: skip
_NODE_S = 4.0


def slurm_jobs(place: Path) -> list[str]:
    """Running SLURM jobs whose working folder is in a place, workers first."""
    said = _slurm("squeue", "-h", "-t", "RUNNING", "-o", "%A %j %Z %o").stdout
    lines = [line.split() for line in said.splitlines() if str(place) in line]
    return [line[0] for line in sorted(lines, key=lambda line: not line[1].startswith("blush-"))]


def on_slurm(place: Path, kind: str) -> str:
    """Do to a running job of a run what the kind says."""
    job = slurm_jobs(place)[0]
    node = _slurm("squeue", "-h", "-j", job, "-o", "%N").stdout.strip()
    commands = {
        "scancel worker": [["scancel", job]],
        "cancel all": [["scancel", *slurm_jobs(place)]],
        "requeue worker": [["scontrol", "requeue", job]],
        "suspend worker": [["scontrol", "suspend", job]],
        "time limit": [["scontrol", "update", f"JobId={job}", "TimeLimit=0-00:01:00"]],
        "drain node": [["scontrol", "update", f"NodeName={node}", "State=DRAIN", "Reason=faults"], ["scancel", job]],
        "node down": [["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=faults"]],
    }[kind]
    said = " ".join(_slurm(*command).stderr.strip() for command in commands).strip()
    if kind in ("drain node", "node down"):
        time.sleep(_NODE_S)
        _slurm("scontrol", "update", f"NodeName={node}", "State=RESUME")
    return f"{kind} of job {job} on {node} after {progress(place)} lines ({said or 'done'})"


def upgraded_tree(place: Path) -> Path:
    """A copy of this Blush whose results differ."""
    tree = place / "other_tree"
    for name in ("blush", "workflow", "profiles"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    path = tree / "blush/refine/state.py"
    text, count = re.subn(r"(?m)^ALGORITHM_VERSION = \d+", "ALGORITHM_VERSION = 9999", path.read_text(encoding="utf-8"))
    if count != 1:
        raise RuntimeError(f"{path} has {count} versions")
    path.write_text(text, encoding="utf-8")
    return tree


def wrong_partition(place: Path, particles: Path) -> Callable[[], None]:
    """Name a partition that this SLURM does not have; what takes that back."""
    text = (place / "run.yaml").read_text(encoding="utf-8")
    compute = yaml.safe_load(text)["compute"]
    configure(place, particles, compute=compute | {"slurm": {"partition": "nowhere", "minutes": 10}})
    return lambda: (place / "run.yaml").write_text(text, encoding="utf-8") and None


def late_input(place: Path, rng: random.Random) -> Callable[[], None]:
    """Take an input away; what puts it back."""
    path = rng.choice([place / "particles/particles.star", place / "particles/reference.mrc"])
    away = path.with_name("not_there_yet")
    path.rename(away)
    return lambda: away.rename(path) and None


def _slurm(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
