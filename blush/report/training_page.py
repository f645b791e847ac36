"""One page on a training: loss over steps, what goes with it, and patches before and after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.io.files import as_written, load_npz
from blush.io.tsv import read_numbers
from blush.report.map_figures import png
from blush.report.sheet import figure, pictures, rows, section, write_sheet
from blush.report.style import SERIES, drawing, svg

WINDOW = 50
NEEDED = ("step", "block_px", "batch", "loss", "seconds")
OTHERS = ("mse", "mask_loss", "learning_rate", "gradient_norm")
"""Columns of losses.tsv."""
Floats = NDArray[np.float64]


def write_page(fit: Path, out: Path, name: str) -> Path:
    """Write the page from `losses.tsv` and `examples.npz` of a training's folder.

    Raises
    ------
    BlushError
        Where there are no losses yet, or their table is damaged.
    """
    path = fit / "losses.tsv"
    table = read_numbers(path, "cannot write the page", "train first", NEEDED, OTHERS)
    steps = np.diff(table["step"], prepend=0)
    patches = float((steps * table["batch"]).sum())
    hours = float(table["seconds"][-1]) / 3600
    lead = f"{table['step'][-1]:,.0f} steps · {patches:,.0f} patches · {hours:.2f} h"
    caption = (
        "Loss (no unit) over steps: mean over the steps of a row, and its running mean; it jumps where the size of "
        "patches changes. "
    )
    caption += "The loss weighs noisy patches more."
    parts = (
        "Over steps, without units: squared error without weights, cross-entropy of the mask, norm of the gradient, "
        "learning rate."
    )
    body = section("Loss", figure(_curve(table, "loss"), caption), figure(_small(table), parts))
    return write_sheet(out, f"{name}: training", lead, body + _stages(table) + _examples(fit), "Numbers: losses.tsv.")


def running(values: Floats) -> Floats:
    """Mean over the last rows."""
    total = np.cumsum(np.insert(values, 0, 0.0))
    first = np.maximum(np.arange(len(values)) + 1 - WINDOW, 0)
    last = np.arange(len(values)) + 1
    return (total[last] - total[first]) / (last - first)


def _curve(table: dict[str, Floats], name: str) -> str:
    with drawing(9.6, 3.2) as (page, axes):
        axes.plot(table["step"], table[name], color=SERIES[0], alpha=0.25, linewidth=0.7)
        axes.plot(table["step"], running(table[name]), color=SERIES[0], linewidth=1.6)
        axes.set_yscale("log")
        axes.set_xlabel("Step")
        axes.set_ylabel(name.capitalize())
        return svg(page, f"training-{name}")


def _small(table: dict[str, Floats]) -> str:
    names = [name for name in ("mse", "mask_loss", "gradient_norm", "learning_rate") if (table[name] > 0).any()]
    if not names:
        return ""
    with drawing(9.6, 2.6, ncols=len(names), squeeze=False) as (page, grid):
        for place, (axes, name) in enumerate(zip(grid[0], names, strict=True)):
            shown = table[name] if name == "learning_rate" else running(table[name])  # it is set, not measured
            axes.plot(table["step"], shown, color=SERIES[place % len(SERIES)], linewidth=1.4)
            axes.set_yscale("log")
            axes.set_title(name.replace("_", " "))
            axes.set_xlabel("Step")
        return svg(page, "training-parts")


def _stages(table: dict[str, Floats]) -> str:
    lines = []
    for side in dict.fromkeys(table["block_px"].tolist()):
        mine = table["block_px"] == side
        count, batch = int(mine.sum()), table["batch"][mine][0]
        seconds = np.diff(table["seconds"], prepend=0)[mine].sum()
        steps = np.diff(table["step"], prepend=0)[mine].sum()
        last = table["loss"][mine][-min(count, WINDOW) :].mean()
        lines.append(
            [f"{side:.0f}", f"{batch:.0f}", f"{steps:.0f}", f"{steps * batch / max(seconds, 1e-9):.1f}", f"{last:.4f}"]
        )
    return section("Stages", rows(["patch (px)", "patches a step", "steps", "patches/s", "loss in the end"], lines, ""))


def _examples(fit: Path) -> str:
    path = fit / "examples.npz"
    if not path.exists():
        return ""
    stored = load_npz(path)
    with as_written(path, "train again"):
        patches = [stored[name] for name in ("input", "denoised", "target")]
    parts = []
    for images in zip(*patches, strict=True):
        shown = zip(("input", "denoised", "target"), images, strict=True)
        parts.append(pictures([(name, png(image)) for name, image in shown]))
    return section("Patches that are always the same", *parts)
