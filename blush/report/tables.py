"""Numbers of a run as the page shows them: tiles, the table of iterations, inputs and versions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from blush.fourier.limits import limit_note
from blush.jobs.certificates import certificates
from blush.jobs.progress import Record
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State
from blush.report.run_data import RunData
from blush.report.timing import by_iteration, by_stage, closed, compact, duration, spent


def tiles(run: RunData) -> str:
    """The figures to know first."""
    return tiled(_tile_values(run))


def tiled(values: Iterable[tuple[str, ...]]) -> str:
    """Figures side by side: label, value, and where there are some remark and kind."""
    return f'<dl class="tiles">{"".join(_tile(*one) for one in values)}</dl>'


def _tile(label: str, value: str, note: str = "", kind: str = "") -> str:
    small = f"<small>{escape(note)}</small>" if note else ""
    return f'<div class="tile {kind}"><dt>{escape(label)}</dt><dd>{escape(value)}{small}</dd></div>'


def _tile_values(run: RunData) -> Iterable[tuple[str, ...]]:
    general, last = run.postprocess.get("general"), run.last
    if general is not None:
        curve = "unmasked" if str(np.ravel(general["rlnMaskName"])[0]) == "None" else "corrected"
        found = _number(general["rlnFinalResolution"])
        yield "Resolution", angst(found), _limited(f"{curve} FSC 0.143", found, last), "main"
    elif last is not None:
        remark = _limited(f"iteration {last.iteration}", last.resolution_angst, last)
        yield "Resolution so far", angst(last.resolution_angst), remark, "main"
    if "resolution_angst" in run.truth:
        found = run.truth["resolution_angst"]
        yield "True resolution", angst(found), _limited("FSC with the truth 0.5", found, last), "truth"
    if "poses" in run.truth:
        poses = run.truth["poses"]
        shift = f"median; {poses['shift_median_angst']:.2f} Å in position"
        yield "Pose error", f"{poses['angle_median_deg']:.2f}°", shift, "truth"
    if general is not None:
        bfactor = _number(general["rlnBfactorUsedForSharpening"])
        yield "B-factor", f"{bfactor:.0f} Å²".replace("-", "−"), bfactor_source(general)
    if last is not None:
        yield "Iterations", str(last.iteration), ending(last)
        degrees, angstroms = last.references.best_accuracy_rotation_deg, last.references.best_accuracy_offset_angst
        if degrees is not None:
            yield "Accuracy", f"{degrees:.2f}°", f"expected; {angstroms:.2f} Å in position"
    if run.progress:
        total = spent(closed(run.progress))
        yield "Time", compact(total.wall), f"{compact(total.cpu)} of processors"


def _limited(remark: str, resolution_angst: float | None, last: State | None) -> str:
    """A remark on a resolution, with what limits it where that is the pixel size."""
    if last is None or resolution_angst is None:
        return remark
    note = limit_note(resolution_angst, last.facts.box_px, last.facts.pixel_size_angst)
    return f"{remark}; {note}" if note else remark


def bfactor_source(general: Mapping[str, Any]) -> str:
    """Where a B-factor comes from: the block `general` of a postprocess.star."""
    bfactor = _number(general["rlnBfactorUsedForSharpening"])
    ends = [_number(general[name]) for name in ("blushGuinierFitLowest", "blushGuinierFitHighest") if name in general]
    slope = _number(general.get("rlnFittedSlopeGuinierPlot", np.nan))
    if len(ends) == 2 and math.isclose(bfactor, 4 * slope, rel_tol=1e-4):
        return f"Guinier fit from {angst(ends[0])} to {angst(ends[1])}"
    return "as given" if bfactor else "not sharpened"


def ending(last: State) -> str:
    """Why a run ended, if it has."""
    reasons = {"converged": "converged", "max_iterations": "not converged: stopped at the limit", "": "not finished"}
    return reasons.get(last.stop_reason, last.stop_reason)


def lead(run: RunData) -> str:
    """One plain line under the title: what was refined."""
    parts = []
    if run.poses:
        parts.append(f"{len(next(iter(run.poses.values()))):,} particles".replace(",", " "))
    if run.last is not None:
        facts = run.last.facts
        parts.append(f"symmetry {facts.symmetry}")
        parts.append(f"box {facts.box_px} px at {facts.pixel_size_angst:g} Å")
        parts.append(f"diameter {facts.particle_diameter_angst:g} Å")
    if "regulariser" in run.config:
        parts.append(f"regulariser {run.config['regulariser']['name']}")
    return " · ".join(parts)


def warnings(run: RunData) -> list[str]:
    """What the reader must not miss."""
    found = [str(text) for text in run.summary.get("warnings", [])]
    if run.last is not None and run.last.stop_reason == "max_iterations":
        found.append("The refinement reached the largest number of iterations before it converged.")
    general, true = run.postprocess.get("general"), run.truth.get("resolution_angst")
    if general is not None and true is not None and _number(general["rlnFinalResolution"]) < 0.97 * true:
        reported = angst(_number(general["rlnFinalResolution"]))
        found.append(f"The reported resolution, {reported}, is better than the true one, {angst(true)}.")
    return [text[0].upper() + text[1:] for text in found if text]


_COLUMNS = (
    "", "Resolution", "Size", "Order, step", "Search", "Offsets ±, step", "P max",
    "Accuracy", "Change", "Wall", "Processor",
)  # fmt: skip


def iteration_table(run: RunData) -> str:
    """One row per iteration: the sampling it used, and what it found."""
    times = by_iteration(run.progress)
    rows = []
    for used, state in itertools.pairwise(run.states):
        time, search, accuracy = times.get(state.iteration), used.search, state.references
        rows.append([
            str(state.iteration) + (" final" if used.final else ""),
            angst(state.resolution_angst),
            f"{search.current_size_px} px",
            f"{search.healpix_order}, {angular_step_deg(search.healpix_order, search.oversampling):.2g}°",
            "local" if search.local else "global",
            f"{search.offset_range_angst:.1f}, {search.offset_step_angst:.1f} Å",
            f"{state.average_pmax:.2f}",
            pair(accuracy.best_accuracy_rotation_deg, accuracy.best_accuracy_offset_angst),
            pair(state.change_rotation_deg, state.change_offset_angst),
            duration(time.wall) if time else "",
            duration(time.cpu) if time else "",
        ])  # fmt: skip
    return table(_COLUMNS, rows)


def pair(angle_deg: float | None, length_angst: float | None) -> str:
    """An angle in degrees and a length in Å; a dash where either is not known."""
    return "–" if angle_deg is None or length_angst is None else f"{angle_deg:.2f}°, {length_angst:.2f} Å"


def stage_table(run: RunData) -> str:
    """Time per stage: by the clock, in all processes, and of processors."""
    rows = [[stage, duration(t.wall), duration(t.busy), duration(t.cpu)] for stage, t in by_stage(run.progress).items()]
    return table(("Stage", "Wall", "Busy", "Processor"), rows)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a heading; the text of every cell is escaped."""
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table class="wide"><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


def regulariser_table(run: RunData) -> str:
    """Iterations in which something else than the configured regulariser made the references, and why."""
    rows = []
    for iteration, record in run.diagnostics.items():
        made = record.get("regulariser", {})
        if made.get("name") != made.get("asked_for"):
            why = f"failed: {made['fallback']}" if "fallback" in made else f"waits for {made.get('waits_for')}"
            rows.append([str(iteration), str(made["name"]), f"{made['asked_for']} {why}"])
    return table(("Iteration", "Made by", "Because"), rows) if rows else ""


def certificate_table(run: RunData) -> str:
    """What the certificate of each iteration says."""
    found = certificates(run.diagnostics)
    rows = [[str(n), one.verdict, "; ".join(one.words)] for n, one in found.items()]
    return table(("Iteration", "Certificate", "Because"), rows) if rows else ""


def keys(values: Record) -> str:
    """Nested settings as rows of `section.key` and value; long lists are left out."""
    rows = "".join(f"<tr><th>{escape(key)}</th><td>{escape(value)}</td></tr>" for key, value in _flat(values))
    return f'<table class="keys wide"><tbody>{rows}</tbody></table>'


def _flat(values: Record, prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif not (isinstance(value, list) and len(value) > 8):
            yield prefix + key, _shown(value)


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def angst(value: float | None) -> str:
    """A resolution in Å; "not resolved" where there is none."""
    if value is None or not math.isfinite(value) or value >= 999:
        return "not resolved"
    return f"{value:.2f} Å" if value < 10 else f"{value:.1f} Å"


def _number(value: Any) -> float:
    return float(np.ravel(value)[0])
