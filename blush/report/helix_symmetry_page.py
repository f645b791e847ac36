"""The page of a search of rise and twist in finished maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from blush.report.sheet import figure, rows, section, write_sheet
from blush.report.style import DENSITY, INK, drawing, svg

_GRID = (
    "Correlation (no unit) of one half-map with the other moved along the screw, over twist in degrees and rise in "
    "Å, over the whole range of the search; o is the "
    "start, + what was found on finer grids. A second peak of the same height is a symmetry that these maps cannot "
    "tell from the first."
)
_LIMIT = "lies at the limit of its range, and is no optimum: widen the range"
_ONE = "A single map cannot tell its signal from what was imposed on it; two unsymmetrised half-maps can"
_NAMES = {"rise_angst": "The rise", "twist_deg": "The twist"}


def write_symmetry_page(folder: Path, record: dict[str, Any]) -> Path:
    """Write FOLDER/helix_symmetry.html.

    Parameters
    ----------
    record
        What `blush.jobs.helix_symmetry.find_symmetry` tells.
    """
    start, found, variance = record["start"], record["found"], record["trilinear_variance"]
    warnings = [f"{_NAMES[name]} {_LIMIT}." for name in found["at_limit"]]
    if len(record["maps"]) == 1:
        warnings.append(_ONE + ".")
    lines = [
        ["Rise (Å)", f"{start['rise_angst']:.4f}", f"{found['rise_angst']:.4f}"],
        ["Twist (degrees)", f"{start['twist_deg']:.4f}", f"{found['twist_deg']:.4f}"],
        ["Cross-over (Å)", "", f"{found['crossover_angst']:.1f}"],
        ["Correlation along the screw", "", f"{found['score']:.4f}"],
        ["Variance of trilinear copies", f"{variance['start']:.4e}", f"{variance['found']:.4e}"],
    ]
    body = section("Symmetry", rows(("", "Start", "Found"), lines), figure(_grid(record), _GRID))
    target = folder / "helix_symmetry.html"
    return write_sheet(
        target, "Helical symmetry", " ".join(record["maps"]), body, "Numbers: helix_symmetry.json.", warnings
    )


def _grid(record: dict[str, Any]) -> str:
    """The first, widest grid; a curve where only one of the two was searched."""
    grid = record["grid"]
    rises, twists, values = (np.asarray(grid[name]) for name in ("rise_angst", "twist_deg", "score"))
    with drawing(5.4, 3.8) as (drawn, axes):
        if min(values.shape) == 1:
            along, name = (twists, "twist (degrees)") if len(rises) == 1 else (rises, "rise (Å)")
            axes.plot(along, values.ravel(), color=INK)
            axes.set(xlabel=name, ylabel="correlation along the screw")
            return svg(drawn, "search")
        cells = axes.pcolormesh(twists, rises, values, shading="nearest", cmap=DENSITY)
        drawn.colorbar(cells, ax=axes).outline.set_visible(False)
        for name, marker in (("start", "o"), ("found", "+")):
            place = record[name]
            axes.plot(place["twist_deg"], place["rise_angst"], marker, color=INK, markersize=9, fillstyle="none")
        axes.set(xlabel="twist (degrees)", ylabel="rise (Å)")
        return svg(drawn, "search")
