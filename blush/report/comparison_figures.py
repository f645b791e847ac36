"""Figures of a comparison: a colour for each regulariser, a thin line for each seed, and a thick one for their mean."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS, TRUTH
from blush.jobs.progress import Record
from blush.report.style import GRID, INK, MUTED, SERIES, drawing, logarithmic_angst, resolution_axis, svg

_DASHES: tuple[str, ...] = ("-", "--", ":")
_STAGES = ("expectation", "reduce", "denoise_and_trail", "converge", "postprocess")
_LEAST_RATIO = 1e-6
Floats = NDArray[np.float64]


def look(content: Record, name: str) -> tuple[str, str]:
    """Colour and dash of a regulariser, by its place in the list."""
    place = content["regularisers"].index(name)
    return SERIES[place % len(SERIES)], _DASHES[place // len(SERIES) % len(_DASHES)]


def members_of(content: Record, name: str) -> list[Record]:
    """Runs of one regulariser, by seed."""
    mine = [member for member in content["members"].values() if member["regulariser"] == name]
    return sorted(mine, key=lambda member: int(member["seed"]))


def fsc(content: Record) -> str | None:
    """FSC between the final halves and, where it is known, with the truth."""
    if not content["members"]:
        return None
    columns = 2 if content["known_truth"] else 1
    with drawing(9.6, 3.5, ncols=columns, squeeze=False) as (figure, grid):
        panels = [("half_fsc", "Between the final half-maps", HALF_MAPS)]
        if content["known_truth"]:
            panels.insert(0, ("true_fsc", "Final map with the truth", TRUTH))
        for axes, (key, title, threshold) in zip(grid[0], panels, strict=True):
            _curves(axes, content, key)
            _level(axes, threshold)
            _resolution(axes, content)
            axes.set_title(title)
            axes.set_ylim(-0.08, 1.03)
            axes.axhline(0, color=GRID, linewidth=1.2)
        grid[0][0].set_ylabel("Fourier shell correlation")
        grid[0][0].legend(loc="lower left")
        return svg(figure, "comparison-fsc")


def shells(content: Record) -> str | None:
    """Amplitude and power that the last references kept of their half-maps, and their FSC."""
    if not any(member["last_regularised"] for member in content["members"].values()):
        return None
    with drawing(9.6, 3.1, ncols=3) as (figure, (left, middle, right)):
        for axes, key, title in (
            (left, "damping", "Amplitude kept of the half-map"),
            (middle, "power_ratio", "Power after / before"),
            (right, "fsc_out", "FSC between the references"),
        ):
            _curves(axes, content, key)
            _resolution(axes, content)
            axes.set_title(title)
        left.axhline(1, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        left.set_ylim(-0.08, None)
        middle.set_yscale("log")
        middle.set_ylim(max(_LEAST_RATIO, middle.get_ylim()[0]), None)
        right.set_ylim(-0.08, 1.03)
        left.legend(loc="lower left")
        return svg(figure, "comparison-shells")


def iterations(content: Record) -> str | None:
    """Resolution after every iteration."""
    if not content["members"]:
        return None
    with drawing(4.7, 3.1) as (figure, axes):
        for name in content["regularisers"]:
            colour, dash = look(content, name)
            for number, member in enumerate(members_of(content, name)):
                values = [np.nan if v is None else v for v in member["resolution_over_iterations_angst"]]
                axes.plot(range(1, len(values) + 1), values, dash, marker="o", markersize=2.5, linewidth=1.2,
                          color=colour, label=name if number == 0 else None)  # fmt: skip
        logarithmic_angst(axes)
        axes.set_ylabel("Resolution (Å)")
        axes.set_xlabel("Iteration")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.legend(loc="upper right")
        return svg(figure, "comparison-iterations")


def seeds(content: Record, key: str, label: str) -> str | None:
    """One number of every run: a dot per seed and a line at their mean."""
    if not content["members"] or key not in next(iter(content["members"].values())):
        return None
    names = [name for name in content["regularisers"] if members_of(content, name)]
    with drawing(4.7, 0.42 * len(names) + 1.2) as (figure, axes):
        for row, name in enumerate(names):
            values = [member[key] for member in members_of(content, name) if member[key] is not None]
            colour, _ = look(content, name)
            axes.plot(values, np.full(len(values), row), "o", color=colour, markersize=6, alpha=0.75)
            if values:
                axes.plot([np.mean(values)] * 2, [row - 0.3, row + 0.3], color=INK, linewidth=1.4)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.margins(x=0.15)
        return svg(figure, f"comparison-{key.replace('_', '-')}")


def timing(content: Record) -> str | None:
    """Mean time of a run by stage, the regulariser's own part set off."""
    names = [name for name in content["regularisers"] if members_of(content, name)]
    if not names:
        return None
    rows = {name: _mean_stages(content, name) for name in names}
    with drawing(9.6, 0.42 * len(names) + 1.4) as (figure, axes):
        start = np.zeros(len(names))
        parts = ("expectation", "reduce", "other steps", "regulariser")
        colours = (SERIES[0], SERIES[2], MUTED, SERIES[1])
        for part, colour in zip(parts, colours, strict=True):
            width = np.array([rows[name][part] for name in names])
            axes.barh(range(len(names)), width, 0.6, left=start, color=colour, label=part)
            start += width
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("Seconds of all workers, mean over seeds")
        axes.set_xlim(0, 1.02 * float(start.max()))
        figure.legend(loc="outside upper left", ncols=4)
        return svg(figure, "comparison-timing")


def _mean_stages(content: Record, name: str) -> dict[str, float]:
    """Busy seconds of a regulariser's runs by part."""
    keys = [key for key, member in content["members"].items() if member["regulariser"] == name]
    timings = [content["timing"][key] for key in keys]
    busy = {
        stage: float(np.mean([timing["stages"].get(stage, {"busy": 0.0})["busy"] for timing in timings]))
        for stage in _STAGES
    }
    own = float(np.mean([timing["regulariser_seconds"] for timing in timings]))
    other = busy["denoise_and_trail"] - own + busy["converge"] + busy["postprocess"]
    return {"expectation": busy["expectation"], "reduce": busy["reduce"], "other steps": other, "regulariser": own}


def _curves(axes: Axes, content: Record, key: str) -> None:
    """Curves over resolution: seeds thin, their mean thick."""
    for name in content["regularisers"]:
        colour, dash = look(content, name)
        curves = [curve for member in members_of(content, name) if (curve := _curve(member, key)) is not None]
        if not curves:
            continue
        frequency = np.arange(len(curves[0])) / _box_angst(content)
        if len(curves) > 1:
            for curve in curves:
                axes.plot(frequency[1:], curve[1:], dash, color=colour, linewidth=0.8, alpha=0.4)
        axes.plot(frequency[1:], np.mean(curves, axis=0)[1:], dash, color=colour, linewidth=2.0, label=name)


def _curve(member: Record, key: str) -> Floats | None:
    """A curve of the final maps or of the last regularised iteration; shells that tell nothing are gaps."""
    found = member.get(key, member["last_regularised"].get(key))
    return None if found is None else np.array([np.nan if value is None else float(value) for value in found])


def _box_angst(content: Record) -> float:
    return float(next(iter(content["members"].values()))["box_angst"])


def _resolution(axes: Axes, content: Record) -> None:
    box = _box_angst(content)
    shells = len(next(iter(content["members"].values()))["half_fsc"]) - 1
    resolution_axis(axes, box / shells, box / 2)


def _level(axes: Axes, level: float) -> None:
    axes.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.annotate(f"{level:.3g}", (1, level), xycoords=("axes fraction", "data"), xytext=(3, 0), fontsize=8.5,
                  textcoords="offset points", va="center", color=MUTED)  # fmt: skip
