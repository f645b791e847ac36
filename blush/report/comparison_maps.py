"""Maps of the runs of a comparison side by side: the same slices and projections, on one scale each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from blush.io.mrc import read_volume
from blush.report.map_figures import AXES, Image, best_map, png
from blush.report.run_data import RunData, unchanged
from blush.report.sheet import pictures

_KINDS = ("slice", "projection")


def side_by_side(runs: Mapping[str, RunData]) -> str:
    """HTML of a row of pictures for each run that has a map; nothing where none has."""
    views = {name: _views(run) for name, run in runs.items()}
    shown = {name: row for name, row in views.items() if row}
    parts = []
    for name, row in shown.items():
        images = [
            (f"{kind} {axis}", png(row[place], _limits([other[place] for other in shown.values()])))
            for place, (kind, axis) in enumerate((kind, axis) for kind in _KINDS for axis in AXES)
        ]
        parts.append(f"<h3>{escape(name)}</h3>\n{pictures(images)}")
    return "\n".join(parts)


def _views(run: RunData) -> list[Image]:
    """Central slices, then projections, along z, y and x of the most finished map."""
    path = best_map(run)
    if path is None:
        return []
    volume, _ = read_volume(unchanged(path))
    cuts = [np.take(volume, volume.shape[axis] // 2, axis) for axis in range(3)]
    return [*cuts, *(volume.sum(axis) for axis in range(3))]


def _limits(images: Sequence[Image]) -> tuple[float, float]:
    """Values shown in black and in white in all pictures of one kind."""
    low, high = np.quantile(np.concatenate([image.ravel() for image in images]), [0.01, 0.998])
    return float(low), float(high)
