"""Figures of a classification: sizes, flow between classes, FSC, posteriors, views, where images come from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS
from blush.report.class_data import MOST_SHOWN, ClassData
from blush.report.class_truth import ClassTruth
from blush.report.pose_figures import directions
from blush.report.style import GRID, MUTED, SERIES, drawing, resolution_axis, svg

_SHADES = (0.9, 0.5, 0.25)
_DASHES = ("-", "--", ":")
_COLUMNS = 3
_BAR = 0.09
"""Half the width of a column of the flow."""
MOST_GROUPS = 60
"""Bars of micrographs; of more, neighbours share one."""


def shade(k: int) -> tuple[float, float, float, float]:
    """Colour of class k, from 0."""
    return to_rgba(SERIES[k % len(SERIES)], _SHADES[k // len(SERIES) % len(_SHADES)])


def sizes(data: ClassData) -> str | None:
    """Shares of the classes over the iterations, stacked, and the fraction of images that changed class."""
    iterated = data.run.iterated
    count = len(iterated[-1].references.share) if iterated else 0
    states = [state for state in iterated if len(state.references.share) == count]  # those before had one map for all
    if not states:
        return None
    n = [state.iteration for state in states]
    shares = np.stack([state.references.share for state in states], axis=1)
    with drawing(9.6, 3.0, ncols=2, width_ratios=(1.4, 1)) as (figure, (left, right)):
        floor = np.zeros(len(n))
        for k, share in enumerate(shares):
            left.bar(n, share, 0.9, bottom=floor, color=shade(k), label=f"class {k + 1}" if k < MOST_SHOWN else None)
            floor = floor + share
        left.set_ylim(0, 1)
        left.set_title("Share of the images, by posterior")
        left.grid(visible=False)
        left.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        figure.legend(*left.get_legend_handles_labels(), loc="outside upper left", ncols=8)
        changes = [np.nan if state.change_class is None else state.change_class for state in states]
        right.plot(n, changes, "o-", markersize=3.5, color=SERIES[0])
        right.set_title("Images that changed class")
        right.set_ylim(0, None)
        right.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        for axes in (left, right):
            axes.set_xlabel("Iteration")
            axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        return svg(figure, "class-sizes")


def flow(data: ClassData) -> str | None:
    """Images that stayed and that changed class between the last iterations, as bands between columns."""
    iterations = sorted(data.labels)
    if len(iterations) < 2:
        return None
    total, n_classes = len(data.last_labels), data.n_classes
    with drawing(9.6, 3.2) as (figure, axes):
        for x, n in enumerate(iterations):
            counts = np.bincount(data.labels[n], minlength=n_classes + 1)[1:] / total
            floor = np.cumsum(counts) - counts
            for k in range(n_classes):
                axes.bar(x, counts[k], 2 * _BAR, bottom=floor[k], color=shade(k))
        for x, (one, two) in enumerate(pairwise(iterations)):
            _bands(axes, x, _moved(data.labels[one], data.labels[two], n_classes) / total)
        axes.set_xticks(range(len(iterations)), [str(n) for n in iterations])
        axes.set_xlabel("Iteration")
        axes.set_ylim(1, 0)
        axes.set_xlim(-0.15, len(iterations) - 0.85)
        axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        axes.grid(visible=False)
        return svg(figure, "class-flow")


def _moved(one: NDArray[np.int64], two: NDArray[np.int64], n_classes: int) -> NDArray[np.int64]:
    """(K, K) images by their class before and after."""
    flat = np.bincount((one - 1) * n_classes + two - 1, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes)


def _bands(axes: Axes, x: int, table: NDArray[np.float64]) -> None:
    """Bands from one column to the next: of those that stayed pale, of those that moved in the colour they left."""
    starts = np.cumsum(table.ravel()).reshape(table.shape) - table
    ends = np.cumsum(table.T.ravel()).reshape(table.shape).T - table
    t = np.linspace(0, 1, 24)
    smooth = t**2 * (3 - 2 * t)
    across = x + _BAR + (1 - 2 * _BAR) * t
    for i, j in np.argwhere(table > 0):
        low = starts[i, j] + (ends[i, j] - starts[i, j]) * smooth
        colour = to_rgba(SERIES[i % len(SERIES)], 0.16 if i == j else 0.75)
        axes.fill_between(across, low, low + table[i, j], color=colour, linewidth=0)


def fsc(data: ClassData) -> str | None:
    """FSC of every class between halves of its images; nothing where there was but one fold."""
    last = data.run.last
    if last is None or last.iteration == 0 or not last.references.fsc[:, 1:].any():
        return None
    box_angst = data.run.box_angst
    curves = last.references.fsc
    frequency = np.arange(curves.shape[1]) / box_angst
    with drawing(9.6, 3.5) as (figure, axes):
        axes.axhline(0, color=GRID, linewidth=1.2)
        axes.axhline(HALF_MAPS, color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
        axes.annotate(f"{HALF_MAPS:.3g}", (1, HALF_MAPS), xycoords=("axes fraction", "data"), xytext=(3, 0),
                      fontsize=8.5, textcoords="offset points", va="center", color=MUTED)  # fmt: skip
        for k in data.shown:
            axes.plot(frequency[1:], curves[k][1:], _dash(k), color=SERIES[k % len(SERIES)], label=f"class {k + 1}")
        axes.set_ylim(-0.08, 1.03)
        axes.set_ylabel("FSC, labels shared")
        resolution_axis(axes, 1 / frequency[-1], box_angst / 2)
        axes.legend(loc="lower left", ncols=2)
        return svg(figure, "class-fsc")


def posteriors(data: ClassData) -> str | None:
    """How probable the classes of the images are, how many are left above a limit, and how many of them are right."""
    if data.posterior is None or data.n_classes < 2:
        return None
    best, least = data.posterior.max(1), 1 / data.n_classes
    parts = [np.sort(best[data.last_labels == k + 1]) for k in range(data.n_classes)]
    with drawing(9.6, 2.7, ncols=2 if data.truth is None else 3) as (figure, axes):
        edges = np.linspace(least, 1, 31)
        axes[0].hist(parts, edges, stacked=True, color=[shade(k) for k in range(data.n_classes)])
        axes[0].set_title("Images")
        axes[0].grid(axis="x", visible=False)
        limits = np.linspace(least, 1, 101)
        for k in data.shown:
            left = len(parts[k]) - np.searchsorted(parts[k], limits)
            axes[1].plot(limits, left, _dash(k), color=SERIES[k % len(SERIES)], label=f"class {k + 1}")
        axes[1].set_title("Images left")
        axes[1].set_ylim(0, None)
        if data.truth is not None:
            _calibration(axes[2], data.truth, least)
        for place in axes:
            place.set_xlim(least, 1)
            place.set_xlabel("Posterior of the class")
        return svg(figure, "class-posteriors")


def _calibration(axes: Axes, truth: ClassTruth, least: float) -> None:
    """Stated probabilities against the fraction that was right."""
    found = truth.calibration
    used = found.count > 0
    axes.plot([least, 1], [least, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 3)))
    size = 12 + 110 * found.count[used] / found.count.max()
    axes.scatter(found.probability[used], found.accuracy[used], size, color=SERIES[3], linewidths=0, clip_on=False)
    axes.set_ylim(0, 1.03)
    axes.set_title("Right class")


def _dash(k: int) -> str:
    return _DASHES[k // len(SERIES) % len(_DASHES)]


def views(data: ClassData) -> str | None:
    """Density of viewing directions of each class."""
    if not data.labels or "rot_deg" not in data.run.poses:
        return None
    shown = [k for k in data.shown if data.counts[k]]
    rows = -(-len(shown) // _COLUMNS)
    with drawing(9.6, 1.75 * rows + 0.2, nrows=rows, ncols=_COLUMNS, squeeze=False) as (figure, grid):
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, k in zip(grid.flat, shown, strict=False):
            mine = data.last_labels == k + 1
            directions(axes, data.run.poses["rot_deg"][mine], data.run.poses["tilt_deg"][mine], 30)
            axes.set_title(f"class {k + 1}")
        return svg(figure, "class-views")


def origins(data: ClassData) -> str | None:
    """Classes by micrograph, and the defocus of each."""
    if data.origin is None:
        return None
    group, labels = data.origin.group, data.last_labels
    n_groups = int(group.max()) + 1
    bars = min(n_groups, MOST_GROUPS)
    table = np.zeros((data.n_classes, bars))
    np.add.at(table, (labels - 1, group * bars // n_groups), 1)
    table /= np.maximum(table.sum(0), 1)
    with drawing(9.6, 2.8, ncols=2, width_ratios=(1.4, 1)) as (figure, (left, right)):
        floor = np.zeros(bars)
        for k, share in enumerate(table):
            left.bar(range(bars), share, 1.0, bottom=floor, color=shade(k), linewidth=0)
            floor = floor + share
        left.set_ylim(0, 1)
        left.set_xlim(-0.5, bars - 0.5)
        left.set_xticks([])
        left.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        left.grid(visible=False)
        several = f", {n_groups} in {bars} bars" if n_groups > bars else ""
        left.set_xlabel(f"Micrographs{several}")
        left.set_title("Classes on each micrograph")
        defocus = data.origin.defocus_angst / 1e4
        edges = np.linspace(defocus.min(), max(defocus.max(), defocus.min() + 1e-3), 21)
        for k in data.shown:
            counts, _ = np.histogram(defocus[labels == k + 1], edges)
            right.stairs(counts / max(counts.sum(), 1), edges, color=SERIES[k % len(SERIES)], linewidth=1.4)
        right.set_xlabel("Defocus (µm)")
        right.set_title("Share of a class")
        right.xaxis.set_major_locator(MaxNLocator(6))
        return svg(figure, "class-origins")
