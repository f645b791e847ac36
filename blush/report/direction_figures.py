"""Figures of directions: FSC in cones, and over the whole sphere resolution and views."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import load_npz
from blush.report.map_figures import LOCAL_COLOURS
from blush.report.pose_figures import graticule, mollweide
from blush.report.run_data import unchanged
from blush.report.style import DENSITY, INK, MUTED, SERIES, drawing, fsc_axes, svg, threshold

Curves = dict[str, NDArray[Any]]
FEW_SHOWN = 32
"""Axes whose curves are drawn one by one."""


def fsc_by_direction(curves: Curves) -> str:
    """FSC in cones: their range, some of them, and that of the worst axis."""
    fsc, frequency = np.where(curves["counted"], curves["fsc"], np.nan), curves["frequency"]
    shown = curves["counted"].all(0)
    x, inner = frequency[shown], fsc[:, shown]
    with drawing(4.7, 3.2) as (figure, axes):
        axes.fill_between(x, inner.min(0), inner.max(0), color=SERIES[0], alpha=0.15, linewidth=0)
        for curve in inner[:: max(1, len(inner) // FEW_SHOWN)]:
            axes.plot(x, curve, color=SERIES[0], alpha=0.35, linewidth=0.7)
        axes.plot(x, np.median(inner, 0), color=SERIES[0], linewidth=2.2, label="median direction")
        axes.plot(x, inner[_worst(curves)], color=SERIES[1], linewidth=1.8, label="worst direction")
        threshold(axes, HALF_MAPS)
        fsc_axes(axes, 1 / frequency[-1], 1 / frequency[1] / 2)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.19))
        return svg(figure, "directional-fsc")


def _worst(curves: Curves) -> int:
    return int(np.argmax(curves["resolution_angst"]))


def sphere(curves: Curves) -> str:
    """Views with their symmetry mates, and resolution by direction, in equal-area maps of the whole sphere."""
    with drawing(9.6, 3.1, ncols=2) as (figure, (left, right)):
        cells = _views(left, curves["view_counts"])
        left.set_title("Views, relative to uniform")
        bar = figure.colorbar(cells, ax=left, fraction=0.04, pad=0.01, shrink=0.7)
        bar.outline.set_visible(False)
        points = _resolution(right, curves)
        right.set_title("Resolution by direction (Å)")
        bar = figure.colorbar(points, ax=right, fraction=0.04, pad=0.01, shrink=0.7)
        bar.outline.set_visible(False)
        for axes in (left, right):
            _mark(axes, curves)
            graticule(axes)
        return svg(figure, "sphere")


def _views(axes: Axes, counts: NDArray[np.int64]) -> Any:
    """Counts over their mean; the rows of `counts` divide the cosine of the tilt, its columns the rot."""
    shown = np.where(counts > 0, counts / max(counts.mean(), 1e-30), np.nan)
    return axes.pcolormesh(*_corners(counts.shape), shown, cmap=DENSITY, vmin=0)


def _resolution(axes: Axes, curves: Curves) -> Any:
    """Each cell of the sphere as the axis next to it."""
    rows, columns = curves["view_counts"].shape
    z = 1 - 2 * (np.arange(rows)[:, None] + 0.5) / rows
    rot = 2 * np.pi * ((np.arange(columns) + 0.5) / columns - 0.5)
    across = np.sqrt(1 - z**2)
    cells = np.stack(np.broadcast_arrays(across * np.cos(rot), across * np.sin(rot), z), -1)
    values = curves["resolution_angst"][np.abs(cells @ curves["axes"].T).argmax(-1)]
    finite = np.where(np.isfinite(values), values, np.nan)
    return axes.pcolormesh(*_corners((rows, columns)), finite, cmap=LOCAL_COLOURS)


def _corners(shape: tuple[int, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places in the map of the corners of cells of equal area."""
    rows, columns = shape
    tilt_deg = np.rad2deg(np.arccos(np.linspace(1, -1, rows + 1)))
    return mollweide(*np.broadcast_arrays(np.linspace(-180, 180, columns + 1), 90 - tilt_deg[:, None]))


def _mark(axes: Axes, curves: Curves) -> None:
    """The worst axis, both ends."""
    axis = curves["axes"][_worst(curves)]
    axes.plot(*_place(np.stack([axis, -axis])), "x", color=INK, markersize=7, markeredgewidth=1.8)


def _place(directions: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x, y, z = directions.T
    return mollweide(np.rad2deg(np.arctan2(y, x)), np.rad2deg(np.arcsin(np.clip(z, -1, 1))))


def by_number(record: dict[str, Any]) -> str | None:
    """Predicted resolution against the number of particles, and the line that gives the B-factor."""
    if len(record["particles"]) < 2:
        return None
    count, squared = np.array(record["particles"]), 1 / np.array(record["resolution_angst"]) ** 2
    with drawing(4.7, 3.2) as (figure, axes):
        axes.plot(count, squared, "o", color=SERIES[0], markersize=5)
        if record["bfactor_angst2"]:
            slope, start = np.polyfit(np.log(count), squared, 1)
            axes.plot(count, start + slope * np.log(count), color=MUTED, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_xlabel("Particles")
        axes.minorticks_off()
        axes.set_xticks(count, [f"{n:,}".replace(",", " ") for n in count], fontsize=8)
        ticks = [value for value in axes.get_yticks() if value > 0]
        axes.set_yticks(ticks, [f"{value**-0.5:.3g}" for value in ticks])
        axes.set_ylabel("Resolution (Å), as 1/d²")
        return svg(figure, "by-number")


def read_curves(path: Path) -> Curves | None:
    """Curves of `orientation.npz`; None where it is not there."""
    return load_npz(unchanged(path)) if path.exists() else None
