"""Look of the figures: SVG that takes its colours and its font from the page, so light and dark both work."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

# matplotlib draws with these; `svg` turns each into the variable of the style sheet that it stands for.
INK, MUTED, GRID, PAPER = "#010203", "#040506", "#070809", "#0a0b0c"
SERIES = ("#110000", "#120000", "#130000", "#140000", "#150000")
_VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--rule", PAPER: "--paper"} | {
    colour: f"--series{index}" for index, colour in enumerate(SERIES, start=1)
}
_RC = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
}
DENSITY = ListedColormap([(*to_rgb(SERIES[0]), alpha) for alpha in np.linspace(0.18, 1.0, 48)], "density")
"""Ramp of one colour by opacity: it reads on light and on dark paper."""
WIDE = 7.0
"""Inches; wider figures are moved across on a narrow screen, so that their text stays readable."""
NICE_ANGST = (100, 50, 30, 20, 15, 12, 10, 8, 7, 6, 5, 4.5, 4, 3.5, 3.2, 3, 2.8, 2.5, 2.2, 2, 1.8, 1.6, 1.5, 1.4)


@contextmanager
def drawing(width: float, height: float, **subplots: Any) -> Iterator[tuple[Figure, Any]]:
    """A figure of this size in inches and its axes, in the style of the report."""
    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots(**subplots)


def svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element; equal figures give equal text.

    Parameters
    ----------
    name
        Unique on the page: clip paths and markers are named after it.
    """
    target = io.StringIO()
    with matplotlib.rc_context(_RC | {"svg.hashsalt": name}):
        figure.savefig(target, format="svg", metadata={"Date": None, "Creator": None})
    text = target.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    text = re.sub(r"font: (\d+) ([\d.]+px) [^;\"]*", r"font-weight: \1; font-size: \2", text)
    text = re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
    text = re.sub(
        r'id="((?:figure|axes|patch|line2d|text|matplotlib|xtick|ytick|legend|QuadMesh|[A-Za-z]+Collection)[._\w]*)"',
        "",
        text,
    )
    if figure.get_figwidth() > WIDE:
        text = text.replace("<svg ", '<svg class="wide" ', 1)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    return text


def plain_ticks(axis: Axis) -> None:
    """Major ticks as plain numbers, for logarithmic axes of few decades."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def logarithmic_angst(axes: Axes) -> None:
    """Y as resolutions in Å, on a logarithmic scale labelled at round values that keep their distance."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks: list[float] = []
    for value in NICE_ANGST:
        far = not ticks or math.log(ticks[-1] / value) > 0.09 * math.log(high / low)
        if low < value < high and far:
            ticks.append(value)
    axes.set_yticks(ticks or [float(f"{math.sqrt(low * high):.3g}")])
    axes.minorticks_off()
    plain_ticks(axes.yaxis)


def resolution_axis(axes: Axes, finest_angst: float, coarsest_angst: float = 100.0) -> None:
    """X in Å⁻¹, labelled in Å at round values that keep their distance."""
    limit = 1 / finest_angst
    ticks: list[float] = []
    for value in NICE_ANGST:
        position = 1 / value
        far = not ticks or position - ticks[-1] > 0.075 * limit
        if finest_angst <= value <= coarsest_angst and far and limit - position > -1e-9:
            ticks.append(position)
    if ticks and limit - ticks[-1] > 0.05 * limit:
        ticks.append(limit)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{1 / x:.3g}" if x > 0 else ""))
    axes.set_xlim(0, limit)
    axes.set_xlabel("Resolution (Å)")


def threshold(axes: Axes, level: float) -> None:
    """A level that curves fall to, with its value."""
    axes.axhline(level, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
    axes.annotate(f"{level:.3g}", (1, level), xycoords=("axes fraction", "data"), xytext=(3, 0), fontsize=8.5,
                  textcoords="offset points", va="center", color=MUTED)  # fmt: skip


def fsc_axes(axes: Axes, finest_angst: float, coarsest_angst: float) -> None:
    """Correlation over resolution."""
    axes.axhline(0, color=GRID, linewidth=1.2)
    axes.set_ylim(-0.08, 1.03)
    axes.set_ylabel("Fourier shell correlation")
    resolution_axis(axes, finest_angst, coarsest_angst)
