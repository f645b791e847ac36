"""Figures of motions: components beside what noise shows, where the images are along each, FSC of the combination."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.fourier.thresholds import HALF_MAPS
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.report.class_maps import finer, surface
from blush.report.map_figures import AXES, png, surface_level
from blush.report.run_data import unchanged
from blush.report.style import GRID, INK, MUTED, SERIES, drawing, fsc_axes, svg, threshold

Floats = NDArray[np.float64]
MOST_BARS = 12


def spread(components: list[dict[str, Any]]) -> str:
    """Deconvolved standard deviations with their intervals, and what molecules without the component show."""
    shown = components[:MOST_BARS]
    number = np.arange(1, len(shown) + 1)
    sd, low, high, floor = (
        np.array([one[f"{name}_angst"] for one in shown]) for name in ("sd", "low", "high", "floor")
    )
    real = np.array([one["beyond_noise"] for one in shown])
    with drawing(4.7, 3.0) as (figure, axes):
        axes.bar(number[real], sd[real], 0.6, color=SERIES[0], label="beyond noise")
        axes.bar(number[~real], sd[~real], 0.6, color=GRID, label="noise")
        axes.vlines(number, low, high, color=INK, linewidth=1.2)
        axes.hlines(floor, number - 0.42, number + 0.42, color=SERIES[1], linewidth=2, label="noise alone, up to")
        axes.set_xticks(number)
        axes.set_ylim(0, 1.35 * float(max(high.max(), floor.max())))
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("Component")
        axes.set_ylabel("rms displacement (Å)")
        axes.legend(loc="upper right", ncols=3, columnspacing=1.2, handlelength=1.2, fontsize=8)
        return svg(figure, "motion-components")


def along(k: int, moving: dict[str, Any], sd_angst: float) -> str:
    """Where images are along component k, from 0: without their uncertainty, as measured, and as Gaussians."""
    histogram, modes = moving["histogram"], moving["modes"]
    bins, share, measured = (np.array(histogram[name]) for name in ("bins_angst", "share", "measured"))
    place = bins / sd_angst
    width = place[1] - place[0]
    with drawing(4.7, 3.0) as (figure, axes):
        axes.bar(place, share / width, width, color=SERIES[0], alpha=0.45, label="without uncertainty")
        axes.step(place[1:-1], measured[1:-1] / width, where="mid", color=MUTED, linewidth=1, label="as measured")
        fine = np.linspace(place[0], place[-1], 400)[:, None]
        mean, sd = (np.array(modes[name]) / sd_angst for name in ("mean_angst", "sd_angst"))
        curves = modes["share"] * np.exp(-(((fine - mean) / sd) ** 2) / 2) / (np.sqrt(2 * np.pi) * sd)
        axes.plot(fine, curves.sum(1), color=SERIES[1], label="modes")
        axes.set_yticks([])
        axes.grid(axis="x", visible=False)
        axes.set_ylim(0, 1.25 * max(float(one.max()) for one in (share / width, measured[1:-1] / width, curves.sum(1))))
        axes.set_xlabel(f"Component {k + 1} (standard deviations of {sd_angst:.2f} Å rms)")
        axes.set_ylabel("Images")
        axes.legend(loc="upper left", ncols=3, columnspacing=1.2, handlelength=1.2, fontsize=8)
        return svg(figure, f"motion-along-{k + 1}")


def fsc(path: Path) -> str | None:
    """FSC of the combination; None where there is none."""
    if not path.exists():
        return None
    curves = load_npz(unchanged(path))
    frequency = curves["frequency"]
    with drawing(4.7, 3.2) as (figure, axes):
        for name, colour, style in (
            ("corrected", SERIES[0], "-"),
            ("masked", MUTED, "-"),
            ("randomised", SERIES[1], "--"),
        ):
            axes.plot(frequency[1:], curves[name][1:], style, color=colour, label=name)
        threshold(axes, HALF_MAPS)
        fsc_axes(axes, 1 / frequency[-1], 1 / frequency[1] / 2)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.19))
        return svg(figure, "combined-fsc")


def frames(paths: list[Path]) -> list[list[str]]:
    """Pictures of the surfaces of maps along a component, seen along z, y and x, as PNG data addresses.

    What changes among them is marked. All have the level of the one in the middle.
    """
    volumes = [finer(read_volume(unchanged(path))[0], 1) for path in paths]
    change = np.std(volumes, axis=0)
    marks = np.clip(2 * change / max(float(change.max()), 1e-30), 0, 1)
    level = surface_level(volumes[len(volumes) // 2])
    return [[png(surface(volume, marks, level, axis)) for axis in range(len(AXES))] for volume in volumes]
