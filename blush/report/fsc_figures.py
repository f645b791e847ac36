"""Curves over resolution: the final FSC, the FSC of every iteration, the Guinier plot."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS, TRUTH
from blush.report.run_data import RunData
from blush.report.style import INK, MUTED, SERIES, drawing, fsc_axes, svg, threshold

Floats = NDArray[np.float64]
_FINAL_CURVES = (
    ("rlnFourierShellCorrelationCorrected", "corrected", SERIES[0], "-", 2.4),
    ("rlnFourierShellCorrelationMaskedMaps", "masked", SERIES[1], "-", 1.3),
    ("rlnFourierShellCorrelationUnmaskedMaps", "unmasked", SERIES[2], "-", 1.3),
    ("rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps", "phases randomised", MUTED, "--", 1.2),
)


def final_fsc(run: RunData) -> str | None:
    """FSC of the final half-maps, and that with the truth where it is known."""
    table = run.postprocess.get("fsc")
    if table is None:
        return None
    frequency = np.asarray(table["rlnResolution"], dtype=float)
    with drawing(9.6, 3.7) as (figure, axes):
        for column, label, colour, line, width in _FINAL_CURVES:
            if column in table:
                curve = np.asarray(table[column], dtype=float)
                told = label if line != "-" else _marked(axes, frequency, curve, HALF_MAPS, label, colour)
                axes.plot(frequency[1:], curve[1:], line, color=colour, linewidth=width, label=told)
        threshold(axes, HALF_MAPS)
        if "fsc" in run.truth:
            curve = np.asarray(run.truth["fsc"][: len(frequency)], dtype=float)
            told = _marked(axes, frequency, curve, TRUTH, "with the truth", SERIES[3])
            axes.plot(frequency[1:], curve[1:], color=SERIES[3], linewidth=1.8, label=told)
            threshold(axes, TRUTH)
        fsc_axes(axes, 1 / frequency[-1], _coarsest(frequency))
        axes.legend(loc="lower left", ncols=1)
        return svg(figure, "final-fsc")


def _marked(axes: Axes, frequency: Floats, curve: Floats, level: float, label: str, colour: str) -> str:
    """Mark the last shell before a curve first falls below a level; the label with its resolution."""
    below = np.flatnonzero(curve[1:] < level)
    if len(below) and below[0] == 0:
        return f"{label}: not resolved"
    last = int(below[0]) if len(below) else len(curve) - 1
    axes.plot(frequency[last], curve[last], "o", color=colour, markersize=6.5, clip_on=False, zorder=4)
    angst = 1 / frequency[last]
    return f"{label}: {angst:.2f} Å" if len(below) else f"{label}: {angst:.2f} Å or better"


def iteration_fsc(run: RunData) -> str | None:
    """FSC that drove each iteration, from the first (pale) to the last."""
    curves = [(state.iteration, state.references.fsc[0]) for state in run.iterated]
    if not curves:
        return None
    frequency = np.arange(len(curves[0][1])) / run.box_angst
    last = curves[-1][0]
    with drawing(4.7, 3.2) as (figure, axes):
        for iteration, curve in curves:
            label = f"iteration {iteration}" if iteration in (curves[0][0], last) else None
            shade = 0.25 + 0.6 * iteration / last
            width = 2.2 if iteration == last else 1.0
            name = f"fsc-of-{iteration}"
            axes.plot(frequency[1:], curve[1:], color=SERIES[0], alpha=shade, linewidth=width, label=label, gid=name)
        threshold(axes, HALF_MAPS)
        threshold(axes, TRUTH)
        fsc_axes(axes, 1 / frequency[-1], _coarsest(frequency))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.19))
        return svg(figure, "iteration-fsc")


def guinier(run: RunData) -> str | None:
    """Logarithm of the mean amplitude over 1/d², and the line fitted to it."""
    table = run.postprocess.get("guinier")
    if table is None:
        return None
    x = np.asarray(table["rlnResolutionSquared"], dtype=float)
    lines = (
        ("rlnLogAmplitudesOriginal", "average of the halves", MUTED, 1.2),
        ("rlnLogAmplitudesMTFCorrected", "detector response removed", SERIES[2], 1.2),
        ("rlnLogAmplitudesWeighted", "FSC-weighted", SERIES[1], 1.6),
        ("rlnLogAmplitudesSharpened", "sharpened", SERIES[0], 2.2),
    )
    with drawing(4.7, 3.2) as (figure, axes):
        for column, label, colour, width in lines:
            if column in table:
                y = np.asarray(table[column], dtype=float)
                axes.plot(x[y > -90], y[y > -90], color=colour, linewidth=width, label=label)
        general = run.postprocess["general"]
        if "rlnFittedSlopeGuinierPlot" in general:
            slope, start = (_number(general[f"rlnFitted{name}GuinierPlot"]) for name in ("Slope", "Intercept"))
            used = _fitted(x, general)
            axes.plot(x[used], start + slope * x[used], ":", color=INK, linewidth=1.8, label="Guinier fit")
        axes.set_xlabel("1 / d² (Å⁻²)")
        axes.set_ylabel("ln ⟨|F|⟩")
        axes.set_xlim(0, x[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(loc="upper right")
        return svg(figure, "guinier")


def _fitted(inverse_d2: NDArray[np.float64], general: dict[str, Any]) -> NDArray[np.bool_]:
    """Shells that the line was fitted to; all where the table does not say."""
    if "blushGuinierFitLowest" not in general:
        return np.ones(len(inverse_d2), dtype=bool)
    low, high = (_number(general[f"blushGuinierFit{name}"]) ** -2 for name in ("Lowest", "Highest"))
    found: NDArray[np.bool_] = (inverse_d2 > 0.999 * low) & (inverse_d2 < 1.001 * high)
    return found


def _number(value: Any) -> float:
    """Scalar of a key-value block, which is read as a table of one row."""
    return float(np.ravel(value)[0])


def _coarsest(frequency: NDArray[np.float64]) -> float:
    return float(1 / frequency[1]) / 2
