"""What the regulariser did: shell by shell in the last iteration that had one, and how far it went in each."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from blush.report.run_data import RunData
from blush.report.style import GRID, MUTED, SERIES, drawing, logarithmic_angst, resolution_axis, svg


def _records(run: RunData) -> list[tuple[int, dict[str, Any]]]:
    return [(n, d["regulariser"]) for n, d in run.diagnostics.items() if "regulariser" in d]


def shells(run: RunData) -> str | None:
    """Amplitude kept and FSC before and after, with the shells where references were cut or handed over."""
    found = _records(run)
    if not found:
        return None
    iteration, made = found[-1]
    frequency = np.arange(len(made["fsc_in"])) / run.box_angst
    with drawing(9.6, 3.0, ncols=2) as (figure, (left, right)):
        for half, kept in enumerate(made["damping"]):
            left.plot(frequency[1:], kept[1:], color=SERIES[half], label=f"half {half + 1}")
        left.axhline(1, color=GRID, linewidth=1.2)
        left.set_ylim(-0.05, max(1.1, 1.05 * max(max(kept[1:]) for kept in made["damping"])))
        left.set_title(f"Amplitude kept by {made['name']}, iteration {iteration}")
        right.plot(frequency[1:], made["fsc_in"][1:], color=MUTED, label="before")
        right.plot(frequency[1:], made["fsc_out"][1:], "--", color=SERIES[0], label="after")
        right.set_title("FSC between the halves")
        right.set_ylim(-0.05, 1.03)
        for axes in (left, right):
            resolution_axis(axes, 1 / frequency[-1], float(1 / frequency[1]) / 2)
            for key, label, colour in _LIMITS:
                if made.get(key):
                    axes.axvline(made[key] / run.box_angst, color=colour, linewidth=1.2, label=label)
            axes.legend(loc="lower left")
        return svg(figure, "regulariser")


_LIMITS = (("trailing_shell", "trailing cut", SERIES[3]), ("cross_over_shell", "cross-over", SERIES[2]))


def course(run: RunData) -> str | None:
    """Trailing cut and cross-over in Å, iteration by iteration, beside the resolution; None where neither acted."""
    found = _records(run)
    if not any(made.get(key) for _, made in found for key, _, _ in _LIMITS):
        return None
    with drawing(9.6, 2.6) as (figure, axes):
        states = run.iterated
        axes.plot([s.iteration for s in states], [s.resolution_angst for s in states], "o-", markersize=3,
                  color=SERIES[0], label="resolution (FSC 0.5)")  # fmt: skip
        for key, label, colour in _LIMITS:
            points = [(n, run.box_angst / made[key]) for n, made in found if made.get(key)]
            if points:
                axes.plot(*zip(*points, strict=True), "s--", markersize=3, color=colour, label=label)
        logarithmic_angst(axes)
        axes.set_ylabel("Å")
        axes.set_xlabel("Iteration")
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.legend(loc="upper right")
        return svg(figure, "regulariser-course")
