"""What the runs of a comparison found, side by side: `comparison.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from blush.fourier.fsc import interpolated_resolution_at
from blush.fourier.thresholds import HALF_MAPS, TRUTH
from blush.io.files import write_json
from blush.jobs.compare_regularisers import Comparison, Member, is_finished
from blush.jobs.progress import Record
from blush.report.comparison_maps import side_by_side
from blush.report.comparison_page import write_page
from blush.report.comparison_verdict import known_truth, summarise, verdict
from blush.report.run_data import RunData, read_run
from blush.report.timing import by_stage, closed, spent


def write_comparison(comparison: Comparison, failures: Mapping[str, str]) -> Path:
    """Write comparison.json and comparison.html from the runs that are finished.

    Parameters
    ----------
    failures
        By name of a member why it did not finish.

    Returns
    -------
    The page.
    """
    content = collect(comparison, failures)
    write_json(comparison.folder / "comparison.json", content)
    first = {m.regulariser: read_run(m.run) for m in reversed(comparison.members) if m.name in content["members"]}
    shown = {name: first[name] for name in content["regularisers"] if name in first}
    return write_page(comparison.folder / "comparison.html", content, side_by_side(shown))


def collect(comparison: Comparison, failures: Mapping[str, str]) -> Record:
    """Everything about a comparison, for JSON; what differs between equal comparisons is in `timing`."""
    finished = [member for member in comparison.members if is_finished(member)]
    runs = {member.name: read_run(member.run) for member in finished}
    members = {member.name: _measured(member, runs[member.name]) for member in finished}
    summary = summarise(members)
    return {
        "name": comparison.name,
        "regularisers": list(dict.fromkeys(member.regulariser for member in comparison.members)),
        "seeds": sorted({member.seed for member in comparison.members}),
        "known_truth": known_truth(members),
        "members": members,
        "failures": dict(failures),
        "summary": summary,
        "verdict": verdict(members),
        "timing": {name: _timing(run) for name, run in runs.items()},
    }


def _measured(member: Member, run: RunData) -> Record:
    """What one run found."""
    made = {n: d["regulariser"] for n, d in run.diagnostics.items() if "regulariser" in d}
    last = run.states[-1]  # of a finished run
    return {
        "regulariser": member.regulariser,
        "seed": member.seed,
        "box_angst": run.box_angst,
        "iterations": last.iteration,
        "stop_reason": last.stop_reason,
        "resolution_over_iterations_angst": [_finite(state.resolution_angst) for state in run.iterated],
        "reported_resolution_angst": run.summary["resolution_angst"],
        "accuracy_rotation_deg": last.references.best_accuracy_rotation_deg,
        "average_pmax": last.average_pmax,
        "fell_back": [n for n, record in made.items() if "fallback" in record],
        "waited": [n for n, record in made.items() if "waits_for" in record],
        "last_regularised": _shells(made),
        "warnings": run.summary["warnings"],
        **_half_maps(run),
        **_truth(run),
    }


def _shells(made: Mapping[int, Record]) -> Record:
    """What the regulariser did, shell by shell, in the last iteration in which it was itself at work."""
    own = {n: record for n, record in made.items() if record["name"] == record["asked_for"]}
    if not own:
        return {}
    iteration, record = list(own.items())[-1]
    return {
        "iteration": iteration,
        "damping": np.mean(record["damping"], axis=0).tolist(),
        "power_ratio": np.mean(record["power_ratio"], axis=0).tolist(),
        "fsc_in": record["fsc_in"],
        "fsc_out": record["fsc_out"],
        "trailing_shell": record["trailing_shell"],
        "couples": record["couples"],
    }


def _half_maps(run: RunData) -> Record:
    table = run.postprocess["fsc"]
    corrected = "rlnFourierShellCorrelationCorrected"
    curve = [float(value) for value in table[corrected if corrected in table else _UNMASKED]]
    return {
        "half_fsc": curve,
        "half_fsc_unmasked": [float(value) for value in table[_UNMASKED]],
        "half_resolution_angst": _crossing(curve, HALF_MAPS, run.box_angst),
    }


_UNMASKED = "rlnFourierShellCorrelationUnmaskedMaps"


def _truth(run: RunData) -> Record:
    """Map and poses against the truth, where it is known."""
    if "fsc" not in run.truth:
        return {}
    poses = run.truth["poses"]
    return {
        "true_fsc": run.truth["fsc"],
        "true_resolution_angst": _crossing(run.truth["fsc"], TRUTH, run.box_angst),
        "angle_median_deg": poses["angle_median_deg"],
        "angle_mean_deg": poses["angle_mean_deg"],
        "within_5_deg": poses["within_5_deg"],
        "shift_median_angst": poses["shift_median_angst"],
    }


def _crossing(curve: list[float], threshold: float, box_angst: float) -> float | None:
    """Where a curve first crosses a threshold, between shells: differences are finer than a shell."""
    values = torch.tensor(curve, dtype=torch.float64)
    box = 2 * (len(curve) - 1)
    return _finite(interpolated_resolution_at(values, threshold, box, box_angst / box))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) and value < 999 else None


def _timing(run: RunData) -> Record:
    """Seconds per stage, and what of them the regulariser took."""
    stages = {name: {"wall": s.wall, "busy": s.busy, "cpu": s.cpu} for name, s in by_stage(run.progress).items()}
    total = spent(closed(run.progress))
    own = sum(float(record.get("regulariser_seconds", 0.0)) for record in run.progress)
    return {
        "stages": stages,
        "wall_seconds": total.wall,
        "cpu_seconds": total.cpu,
        "regulariser_seconds": own,
        "regulariser_share": own / total.busy if total.busy else 0.0,
    }
