"""Figures of filaments: rise and twist over the iterations, rot along filaments, layer lines."""

from __future__ import annotations

import numpy as np
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from blush.helix.along import Along
from blush.refine.control import HelixControl
from blush.refine.state import State
from blush.report.style import MUTED, SERIES, drawing, svg

Floats = NDArray[np.float64]
MOST_FILAMENTS = 12
PANELS_ACROSS = 4
LEAST_REACH_DEG = 20.0
"""Of the axis of rot, to either side."""


def symmetry(states: tuple[State, ...]) -> str | None:
    """Rise, twist and the walk of rot about the slow twist, after each iteration."""
    if len(states) < 2:
        return None
    n = [state.iteration for state in states]
    controls = [state.control_of(HelixControl) for state in states]
    with drawing(9.6, 2.7, ncols=3) as (figure, (left, middle, right)):
        for axes, title, values in (
            (left, "Twist (°)", [one.twist_deg for one in controls]),
            (middle, "Rise (Å)", [one.rise_angst for one in controls]),
        ):
            axes.plot(n, values, "o-", markersize=3.5, color=SERIES[0])
            axes.set_title(title)
            axes.ticklabel_format(axis="y", useOffset=False)
        for half in (0, 1):
            walk = [float(np.sqrt(one.walk_deg2_per_angst[half] * 100)) for one in controls]
            right.plot(n, walk, "o-", markersize=3.5, color=SERIES[half], label=f"half {half + 1}")
        right.set_title("Walk of rot over 100 Å (°)")
        right.set_ylim(0, None)
        right.legend(loc="upper right")
        for axes in (left, middle, right):
            axes.set_xlabel("Iteration")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return svg(figure, "helix-symmetry")


def filaments(along: Along, period_deg: float, names: list[str]) -> str | None:
    """Rot less the slow twist against distance, one panel for each of the longest filaments."""
    longest = np.argsort(-along.count, kind="stable")[:MOST_FILAMENTS]
    if not len(longest):
        return None
    rows, reach = (
        -(-len(longest) // PANELS_ACROSS),
        min(period_deg / 2, max(LEAST_REACH_DEG, 8 * along.phase_spread_deg)),
    )
    with drawing(9.6, 1.75 * rows + 0.3, nrows=rows, ncols=PANELS_ACROSS, squeeze=False, sharey=True) as (figure, all_):
        for axes in all_.flat[len(longest) :]:
            axes.set_visible(False)
        for axes, k in zip(all_.flat, longest, strict=False):
            of_it = along.filament == k
            for chosen, colour, mark in (
                (of_it & ~along.against_most, SERIES[0], "o"),
                (of_it & along.against_most, SERIES[1], "x"),
            ):
                shown = along.phase_deg[chosen].clip(-reach, reach)
                axes.plot(along.track_angst[chosen], shown, mark, markersize=3, color=colour)
            axes.axhline(0, color=MUTED, linewidth=0.9)
            axes.set_ylim(-reach, reach)
            arrow = "←" if along.is_reversed[k] else "→"
            axes.set_title(f"{names[k]} {arrow}", fontsize=8.5)
        for axes in all_[-1]:
            axes.set_xlabel("Distance (Å)", fontsize=8.5)
        all_[0, 0].set_ylabel("Phase (°)", fontsize=8.5)
        return svg(figure, "helix-filaments")


def layer_lines(power: Floats, box_angst: float, rise_angst: float, finest_angst: float) -> str | None:
    """Power of the map over radial and axial frequency, with the meridional line of the rise.

    Parameters
    ----------
    power
        (axial shells, radial shells) as `blush.helix.layer_lines.layer_lines` has it.
    """
    shown = min(len(power), int(box_angst / finest_angst) + 2)
    image = np.log10(np.maximum(power[:shown, :shown], power[power > 0].min() if (power > 0).any() else 1.0))
    top = np.concatenate((image[:0:-1], image))
    both = np.concatenate((top[:, :0:-1], top), 1)
    reach = (shown - 0.5) / box_angst
    with drawing(4.7, 4.3) as (figure, axes):
        low, high = np.percentile(both, [20, 99.8])
        axes.imshow(both, extent=(-reach, reach, -reach, reach), origin="lower", cmap="gray", vmin=low, vmax=high)
        axes.grid(visible=False)
        if 1 / rise_angst < reach:
            axes.axhline(1 / rise_angst, color=SERIES[1], linewidth=0.9)
            axes.annotate(
                f"1/{rise_angst:.2f} Å", (reach, 1 / rise_angst), fontsize=8.5, color=SERIES[1], ha="right", va="bottom"
            )
        axes.set_xlabel("Across the axis (1/Å)")
        axes.set_ylabel("Along the axis (1/Å)")
        return svg(figure, "helix-layer-lines")
