"""Distributions over particles: viewing directions, offsets, certainty."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import NDArray

from blush.report.run_data import RunData
from blush.report.style import DENSITY, GRID, INK, MUTED, SERIES, drawing, plain_ticks, svg

Floats = NDArray[np.float64]


def mollweide(longitude_deg: Floats, latitude_deg: Floats) -> tuple[Floats, Floats]:
    """Equal-area plane coordinates, x in [-2, 2] and y in [-1, 1] (times sqrt 2).

    References
    ----------
    Snyder 1987, Map Projections, p. 251
    """
    latitude = np.deg2rad(np.asarray(latitude_deg, dtype=float))
    wanted = np.pi * np.sin(latitude)
    theta = latitude.copy()
    for _ in range(20):  # Newton; near a pole it only halves the error, and the pole is put in exactly below
        slope = 2 + 2 * np.cos(2 * theta)
        theta -= np.where(slope > 1e-9, (2 * theta + np.sin(2 * theta) - wanted) / np.maximum(slope, 1e-9), 0)
    theta = np.where(np.abs(latitude) > np.pi / 2 - 1e-9, np.copysign(np.pi / 2, latitude), theta)
    x = 2 * np.sqrt(2) / np.pi * np.deg2rad(np.asarray(longitude_deg, dtype=float)) * np.cos(theta)
    return x, np.sqrt(2) * np.sin(theta)


def orientations(run: RunData) -> str | None:
    """Density of viewing directions in an equal-area map of the sphere."""
    if "rot_deg" not in run.poses:
        return None
    with drawing(6.4, 3.1) as (figure, axes):
        cells = directions(axes, run.poses["rot_deg"], run.poses["tilt_deg"], 46)
        bar = figure.colorbar(cells, ax=axes, label="Particles", fraction=0.04, pad=0.01, shrink=0.75)
        bar.outline.set_visible(False)
        return svg(figure, "orientations")


def directions(axes: Axes, rot_deg: Floats, tilt_deg: Floats, cells: int) -> PolyCollection:
    """Draw the density of viewing directions over a graticule.

    Parameters
    ----------
    cells
        Hexagons across; half as many down.
    """
    x, y = mollweide((rot_deg + 180) % 360 - 180, 90 - tilt_deg)
    edge = 2 * np.sqrt(2)
    drawn = axes.hexbin(x, y, gridsize=(cells, cells // 2), extent=(-edge, edge, -edge / 2, edge / 2), mincnt=1,
                        cmap=DENSITY, linewidths=0)  # fmt: skip
    graticule(axes)
    return drawn


def graticule(axes: Axes) -> None:
    """Meridians and parallels each 30°, the outline, and the names of the axes; no frame."""
    line = np.linspace(-90, 90, 91)
    for longitude in range(-180, 181, 30):
        outline = abs(longitude) == 180
        colour, width = (MUTED, 1.0) if outline else (GRID, 0.7)
        axes.plot(*mollweide(np.full_like(line, longitude), line), color=colour, linewidth=width)
    for latitude in range(-60, 61, 30):
        axes.plot(*mollweide(2 * line, np.full_like(line, latitude)), color=GRID, linewidth=0.7)
        x, y = mollweide(np.array([-180.0]), np.array([float(latitude)]))
        axes.annotate(f"{90 - latitude}°", (x[0], y[0]), xytext=(-6, 0), fontsize=8.5, textcoords="offset points",
                      ha="right", va="center", color=MUTED)  # fmt: skip
    for longitude in (-120, -60, 0, 60, 120):
        x, y = mollweide(np.array([float(longitude)]), np.array([0.0]))
        axes.annotate(f"{longitude}°".replace("-", "−"), (x[0], y[0]), xytext=(2, 2), fontsize=7.5,
                      textcoords="offset points", color=INK)  # fmt: skip
    edge = 2 * np.sqrt(2)
    axes.annotate("tilt", (-edge, 0), xytext=(-34, 0), fontsize=9, rotation=90, textcoords="offset points",
                  ha="center", va="center", color=MUTED, annotation_clip=False)  # fmt: skip
    axes.annotate("rot", (0, -np.sqrt(2)), xytext=(0, -5), fontsize=9, textcoords="offset points", ha="center",
                  va="top", color=MUTED, annotation_clip=False)  # fmt: skip
    axes.set_aspect("equal")
    axes.set_axis_off()


def particles(run: RunData) -> str | None:
    """Histograms of certainty, of significant orientations and of offsets."""
    poses = run.poses
    if "offset_x_angst" not in poses:
        return None
    with drawing(9.6, 2.6, ncols=3) as (figure, (left, middle, right)):
        if "pmax" in poses:
            left.hist(poses["pmax"], np.linspace(0, 1, 31), color=SERIES[0])
        left.set_title("Largest posterior probability")
        left.set_xlim(0, 1)
        if "n_significant" in poses:
            counts = np.maximum(poses["n_significant"], 1)
            edges = np.unique(np.geomspace(1, max(10, counts.max() + 1), 31).round()) - 0.5
            middle.hist(counts, edges, color=SERIES[0])
            middle.set_xscale("log")
            plain_ticks(middle.xaxis)
        middle.set_title("Significant orientations and offsets")
        x, y = poses["offset_x_angst"], poses["offset_y_angst"]
        reach = max(1.0, float(np.quantile(np.abs(np.concatenate([x, y])), 0.995)))
        right.hexbin(x, y, gridsize=30, extent=(-reach, reach, -reach, reach), mincnt=1, cmap=DENSITY, linewidths=0)
        right.set_aspect("equal")
        right.set_title("Offsets x, y (Å)")
        for axes in (left, middle):
            axes.set_ylabel("Particles")
            axes.grid(axis="x", visible=False)
        return svg(figure, "particles")
