"""Curves of several bodies side by side: FSC, resolution and widths of motion over the iterations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from blush.fourier.thresholds import HALF_MAPS
from blush.report.bodies_data import BodyData
from blush.report.style import SERIES, drawing, fsc_axes, logarithmic_angst, svg, threshold


def shade(index: int) -> str:
    """Colour of a body in curves."""
    return SERIES[index % len(SERIES)]


def fsc(bodies: Sequence[BodyData]) -> str | None:
    """FSC of each body in its mask, and that of the consensus in the same mask."""
    begun = [(index, body) for index, body in enumerate(bodies) if body.refined and body.run.states]
    if not begun:
        return None
    with drawing(9.6, 3.7) as (figure, axes):
        for index, body in begun:
            first, last = (body.run.states[k].references.fsc[0] for k in (0, -1))
            frequency = np.arange(len(first)) / body.run.box_angst
            table = body.run.postprocess.get("fsc", {})
            curve = np.asarray(table.get("rlnFourierShellCorrelationCorrected", last), dtype=float)
            axes.plot(frequency[1:], first[1:], "--", color=shade(index), linewidth=1.1)
            axes.plot(frequency[1:], curve[1:], color=shade(index), linewidth=2.0, label=body.name)
        threshold(axes, HALF_MAPS)
        fsc_axes(axes, 1 / frequency[-1], 1 / frequency[1] / 2)
        axes.legend(loc="lower left")
        return svg(figure, "bodies-fsc")


def iterations(bodies: Sequence[BodyData]) -> str | None:
    """Resolution, and the largest widths of motion, of each body over the iterations."""
    begun = [(index, body) for index, body in enumerate(bodies) if body.refined and body.run.iterated]
    if not begun:
        return None
    with drawing(9.6, 2.7, ncols=3) as (figure, (left, middle, right)):
        for index, body in begun:
            drawn = {"color": shade(index), "label": body.name, "markersize": 3.5}
            n = [state.iteration for state in body.run.states]
            left.plot(n[1:], [state.resolution_angst for state in body.run.iterated], "o-", **drawn)
            middle.plot(n, [degrees[0] for degrees, _ in body.widths], "o-", **drawn)
            right.plot(n, [angst[0] for _, angst in body.widths], "o-", **drawn)
        left.set_title("Resolution (Å)")
        logarithmic_angst(left)
        middle.set_title("Widest rotation (°)")
        right.set_title("Widest displacement (Å)")
        for axes in (middle, right):
            axes.set_ylim(0, None)
        middle.legend(loc="best")
        for axes in (left, middle, right):
            axes.set_xlabel("Iteration")
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return svg(figure, "bodies-iterations")
