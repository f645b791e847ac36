"""Curves over iterations, and where the time went."""

from __future__ import annotations

from matplotlib.ticker import MaxNLocator

from blush.refine.schedule import angular_step_deg
from blush.refine.state import PoseSearch, State
from blush.report.run_data import RunData
from blush.report.style import INK, MUTED, SERIES, drawing, logarithmic_angst, plain_ticks, svg
from blush.report.timing import by_iteration, by_stage, duration


def convergence(run: RunData) -> str | None:
    """Resolution, sampling and certainty of the poses over the iterations."""
    states = run.iterated
    if not states:
        return None
    n = [state.iteration for state in states]
    with drawing(9.6, 2.7, ncols=3) as (figure, (left, middle, right)):
        left.plot(n, [s.resolution_angst for s in states], "o-", markersize=3.5, color=SERIES[0])
        left.set_title("Resolution (Å)")
        logarithmic_angst(left)
        for angles, label, colour in (
            ([s.change_rotation_deg for s in states], "change", SERIES[0]),
            ([s.references.best_accuracy_rotation_deg for s in states], "expected accuracy", SERIES[1]),
        ):
            points = [point for point in zip(n, angles, strict=True) if point[1] is not None]
            if points:
                middle.plot(*zip(*points, strict=True), "o-", markersize=3.5, color=colour, label=label)
        middle.step(
            n, [_step_deg(s.search) for s in _used(run)], where="mid", color=MUTED, linewidth=1.2, label="sampling step"
        )
        middle.set_title("Orientations (°)")
        middle.set_ylim(0, None)
        middle.legend(loc="upper right")
        right.plot(n, [s.average_pmax for s in states], "o-", markersize=3.5, color=SERIES[0])
        right.set_title("Mean largest posterior probability")
        right.set_ylim(0, 1.02)
        for axes in (left, middle, right):
            axes.set_xlabel("Iteration")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return svg(figure, "convergence")


def _used(run: RunData) -> list[State]:
    """State that each iteration from 1 on worked with: the one before it."""
    return list(run.states[:-1])


def _step_deg(search: PoseSearch) -> float:
    """Angle between nodes after oversampling."""
    return angular_step_deg(search.healpix_order, search.oversampling)


def timings(run: RunData) -> str | None:
    """Processor and wall time per stage, and wall time per iteration."""
    stages, iterations = by_stage(run.progress), by_iteration(run.progress)
    if not stages:
        return None
    with drawing(9.6, 0.45 * len(stages) + 1.3, ncols=2) as (figure, (left, right)):
        rows = range(len(stages))
        left.barh([row + 0.2 for row in rows], [s.wall for s in stages.values()], 0.38, color=SERIES[0], label="wall")
        left.barh([row - 0.2 for row in rows], [s.cpu for s in stages.values()], 0.38, color=MUTED, label="processor")
        left.set_yticks(list(rows), list(stages))
        left.invert_yaxis()
        left.set_xscale("symlog", linthresh=1.0)
        left.set_xlim(0, 6 * max(1.0, *(max(s.wall, s.cpu) for s in stages.values())))
        plain_ticks(left.xaxis)
        for row, stage in enumerate(stages.values()):
            left.annotate(duration(stage.wall), (stage.wall, row + 0.2), xytext=(4, 0), fontsize=8.5, color=INK,
                          textcoords="offset points", va="center")  # fmt: skip
        left.set_xlabel("Seconds")
        left.grid(axis="y", visible=False)
        left.legend(loc="lower right")
        left.set_title("Stages")
        right.bar(list(iterations), [s.wall for s in iterations.values()], 0.8, color=SERIES[0])
        right.set_title("Wall time of each iteration (s)")
        right.set_xlabel("Iteration")
        right.grid(axis="x", visible=False)
        right.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        return svg(figure, "timings")
