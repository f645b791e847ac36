"""`summary.json`: what a run found and from what; all that differs between equal runs is in `timing`."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import blush
from blush.config import RunConfig
from blush.io.files import load_npz, read_json, write_json
from blush.jobs.certificates import Certificate, certificates, doubted
from blush.jobs.inputs import read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.progress import read_progress
from blush.jobs.sealed import checked
from blush.refine.state import ALGORITHM_VERSION, State

_PACKAGES = ("torch", "numpy", "scipy", "mrcfile", "distributed", "snakemake")


def write_summary(
    folder: RunFolder, config: RunConfig, state: State, measured: dict[str, Any], truth: dict[str, Any]
) -> Path:
    """Write RUN/summary.json and return its path."""
    target = folder.root / "summary.json"
    particles, plan = read_frozen_particles(folder.root), read_plan(folder.root)
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    found = _certificates(folder, state.iteration)
    content: dict[str, Any] = {
        "name": config.name,
        **measured,
        "iterations": state.iteration,
        "stop_reason": state.stop_reason,
        "particles": {
            "total": len(particles),
            **{subset.infix: len(rows) for subset, rows in zip(plan.subsets, plan.rows, strict=True)},
            "optics_groups": len(particles.optics),
        },
        "box_px": state.facts.box_px,
        "pixel_size_angst": state.facts.pixel_size_angst,
        "symmetry": state.facts.symmetry,
        "regulariser": _regulariser(folder, config, state.iteration, found),
        "poses": {
            "healpix_order": state.search.healpix_order,
            "accuracy_rotation_deg": state.references.best_accuracy_rotation_deg,
            "accuracy_offset_angst": state.references.best_accuracy_offset_angst,
            "average_pmax": state.average_pmax,
            "median_significant_samples": float(np.median(poses["n_significant"])),
            "log_likelihood": state.log_likelihood,
        },
        "truth": {key: value for key, value in truth.items() if not key.startswith("fsc")},
        **origin(folder, config),
    }
    if failed := content["regulariser"]["fallbacks"]:
        text = f"{config.regulariser.name} failed in iteration {', '.join(failed)}, where Wiener took its place"
        content["warnings"] = [*content["warnings"], text]
    if doubt := doubted(found):
        content["warnings"] = [*content["warnings"], f"{config.regulariser.name}: {doubt}"]
    write_json(target, content)
    return target


def origin(folder: RunFolder, config: RunConfig) -> dict[str, Any]:
    """From what, by what and in what time a run was made."""
    return {
        "seed": config.seed,
        "algorithm": ALGORITHM_VERSION,
        "inputs": read_json(checked(folder, folder.identity)),
        "timing": _timing(folder),
        "versions": {"blush": blush.__version__, "python": platform.python_version(), **_versions()},
    }


def _regulariser(
    folder: RunFolder, config: RunConfig, iterations: int, found: dict[int, Certificate]
) -> dict[str, Any]:
    """Settings of what was used, and what it did: where it acted, where it failed, how far its references went."""
    chosen = config.regulariser
    kept = ("name", "starts", "fallback", "amplitude", "certificate", "jacobian_passes", *chosen.used)
    settings = {key: value for key, value in chosen.model_dump(mode="json").items() if key in kept}
    acted: list[int] = []
    fallbacks: dict[str, str] = {}
    last: dict[str, Any] = {}
    for n in range(1, iterations + 1):
        path = folder.diagnostics(n)
        made = read_json(checked(folder, path)).get("regulariser")
        if made is None:
            continue
        if made["name"] == chosen.name:
            acted.append(n)
        if "fallback" in made:
            fallbacks[str(n)] = made["fallback"]
        last = {key: made[key] for key in ("name", "trailing_shell", "cross_over_shell", "damping", "notes")}
    told = {str(n): asdict(one) for n, one in found.items()}
    return settings | {"acted_in_iterations": acted, "fallbacks": fallbacks, "last": last, "certificates": told}


def _certificates(folder: RunFolder, iterations: int) -> dict[int, Certificate]:
    return certificates({n: read_json(checked(folder, folder.diagnostics(n))) for n in range(1, iterations + 1)})


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _timing(folder: RunFolder) -> dict[str, Any]:
    """Seconds and processor seconds per stage over the whole run, and the largest memory of a process."""
    stages: dict[str, dict[str, float]] = defaultdict(lambda: {"seconds": 0.0, "cpu_seconds": 0.0})
    records = read_progress(folder.progress)
    peak = 0.0
    for record in records:
        peak = max(peak, float(record.get("peak_memory_gb", 0.0)))
        if record["stage"] != "expectation" and "cpu_seconds" in record:
            for key in ("seconds", "cpu_seconds"):
                stages[record["stage"]][key] = round(stages[record["stage"]][key] + float(record[key]), 3)
    times = [float(record["time"]) for record in records]
    return {
        "stages": dict(stages),
        "wall_seconds": round(max(times) - min(times), 1) if times else 0.0,
        "peak_memory_gb": round(peak, 3),
        "host": platform.node(),
    }
