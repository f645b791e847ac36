"""Directions on a page: the verdict, its figures beside their thresholds, FSC by direction, the sphere."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from blush.io.files import read_record
from blush.report import direction_figures
from blush.report.run_data import RunData
from blush.report.sheet import figure, rows, section, write_sheet
from blush.report.tables import angst

_SPHERE = (
    "Equal-area maps of the whole sphere: rot runs across from −180° to 180°, tilt down from 0° at the top. Left: "
    "where particles were seen from, with all symmetry mates, as a multiple of uniform views. Right: resolution in Å "
    "(FSC "
    "0.143 in a cone of 20°) along each axis of the map; × is the worst. A view adds to the axes perpendicular to it."
)
_CONES = (
    "FSC (no unit) of the raw half-maps in cones of 20° around 256 axes over resolution in Å, inside the mask and "
    "uncorrected for it: range of all, some of them, the median and the worst."
)
_NUMBER = (
    "Resolution in Å (FSC 0.143), predicted from the signal-to-noise ratio of these half-maps, shell by shell, at "
    "the poses that they have; fewer "
    "particles would be aligned worse."
)


def direction_section(run: RunData) -> str:
    """The section of a finished refinement; nothing before."""
    curves = direction_figures.read_curves(run.folder / "orientation.npz")
    if curves is None or "orientation" not in run.summary:
        return ""
    return _section(run.summary, curves)


def write_direction_page(folder: Path) -> Path:
    """Write FOLDER/orientation.html from orientation.json and orientation.npz beside it."""
    content = read_record(folder / "orientation.json")
    curves = direction_figures.read_curves(folder / "orientation.npz")
    body = "" if curves is None else _section(content, curves)
    target = folder / "orientation.html"
    return write_sheet(target, "Directions", "", body, "Numbers: orientation.json, orientation.npz.")


def _section(content: dict[str, Any], curves: direction_figures.Curves) -> str:
    found, number = content["orientation"], content["by_number"]
    verdict = found["verdict"]
    told = _NUMBER
    if number["bfactor_angst2"] is not None:
        told += f" The line is ln n = B / 2d² with B = {number['bfactor_angst2']:.0f} Å²."
    cones = figure(direction_figures.fsc_by_direction(curves), _CONES)
    return section(
        "Directions",
        f'<p class="verdict">{escape(verdict[0].upper() + verdict[1:])}.</p>',
        _figures(found),
        figure(direction_figures.sphere(curves), _SPHERE),
        f'<div class="pair">\n{cones}\n{figure(direction_figures.by_number(number), told)}\n</div>',
    )


def _figures(found: dict[str, Any]) -> str:
    """The figures beside what they should be, and where that comes from."""
    ends = found["resolution_angst"]
    cfar, least = found["cfar_least"], found["cfar_isotropic_min"]
    lines = [
        ["Conical FSC area ratio (cFAR)", f"{found['cfar']:.2f}",
         f"{cfar:g} or more (cryoSPARC's limit); {least:.2f} is the least of isotropic halves with this mask and FSC"],
        ["Sampling compensation factor (SCF*)", f"{found['scf_star']:.2f}",
         f"{found['scf_star_least']:.2f} or more: 0.81 (side views alone; Baldwin & Lyumkis 2020) of the "
         f"{found['scf_star_uniform']:.2f} of as many uniform views"],
        ["Directions that no view samples", f"{100 * found['unsampled']:.1f} %", "0 %"],
        ["Resolution: best, median, worst axis", ", ".join(angst(ends[name]) for name in ("best", "median", "worst")),
         "alike"],
    ]  # fmt: skip
    return rows(("", "Found", "Should be"), lines)
