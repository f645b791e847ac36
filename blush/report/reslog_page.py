"""Resolution of random subsets on a page: the points, their line, its B-factor, and what twice as many would reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from blush.io.files import read_record
from blush.report.sheet import figure, rows, section, write_sheet
from blush.report.style import MUTED, SERIES, drawing, svg

_CAPTION = (
    "Resolution (FSC 0.143 within the mask, between shells, in Å, drawn as 1/d²) of maps of random subsets against the "
    "number of their particles, both halves together. Each half of a subset is drawn from one half-set and inserted at "
    "the poses of the whole refinement; fewer particles would be aligned worse, so that real ones end earlier. Subsets "
    "of one draw share no particle. Open points end with the pixels or resolve nothing, and are not in the line."
)


def write_reslog_page(folder: Path) -> Path:
    """Write FOLDER/reslog.html from reslog.json beside it."""
    body = reslog_section(read_record(folder / "reslog.json"))
    return write_sheet(folder / "reslog.html", "Particles against resolution", "", body, "Numbers: reslog.json.")


def reslog_section(record: dict[str, Any]) -> str:
    """The section of a page."""
    lines = [[f"{n:,}".replace(",", " "), ", ".join(sizes)] for n, sizes in _by_number(record).items()]
    drawn = figure(points(record), _CAPTION)
    table = rows(("Particles", "Resolution of each draw (Å)"), lines)
    return section("Particles against resolution", f"<p>{verdict(record)}</p>", drawn, table)


def verdict(record: dict[str, Any]) -> str:
    """What the line says, in words."""
    bfactor = record["bfactor_angst2"]
    if bfactor is None:
        if record["squared_slope"] is None:
            return "Too few numbers of particles resolve something short of the pixels: there is no line."
        return "More particles bring no resolution here: something else limits it."
    low, high = record["bfactor_interval_angst2"]
    ends = f"{low:.0f} or more" if high is None else f"{low:.0f} to {high:.0f}"
    text = f"B-factor of the line ln n = B / 2d²: {bfactor:.0f} Å² (95 %: {ends})."
    twice = record["twice_as_many_angst"]
    return text if twice is None else f"{text} Twice as many particles would reach {twice:.2f} Å at poses as good."


def points(record: dict[str, Any]) -> str | None:
    """1/d² of every subset against the number of its particles, with the line."""
    shown = [point for point in record["points"] if point["resolution_angst"] is not None]
    if not shown:
        return None
    counts = np.array(sorted({point["particles"] for point in shown}))
    with drawing(4.7, 3.2) as (drawn, axes):
        for is_counted, fill in ((True, SERIES[0]), (False, "none")):
            some = [point for point in shown if point["counted"] is is_counted]
            x, y = ([point["particles"] for point in some], [point["resolution_angst"] ** -2 for point in some])
            axes.plot(x, y, "o", markersize=5, markerfacecolor=fill, markeredgecolor=SERIES[0])
        if record["squared_slope"] is not None:
            line = record["squared_intercept"] + record["squared_slope"] * np.log(counts)
            axes.plot(counts, line, color=MUTED, linewidth=1.2)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlabel("Particles")
        axes.set_xticks(counts, [f"{n:,}".replace(",", " ") for n in counts], fontsize=8)
        ticks = [value for value in axes.get_yticks() if value > 0]
        axes.set_yticks(ticks, [f"{value**-0.5:.3g}" for value in ticks])
        axes.set_ylabel("Resolution (Å), as 1/d²")
        return svg(drawn, "reslog")


def _by_number(record: dict[str, Any]) -> dict[int, list[str]]:
    """Resolutions of every number of particles, as they are shown."""
    found: dict[int, list[str]] = {}
    for point in record["points"]:
        size = point["resolution_angst"]
        found.setdefault(point["particles"], []).append("none" if size is None else f"{size:.2f}")
    return found
