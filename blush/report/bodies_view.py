"""All bodies of a finished run in one map, each in its colour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import affine_transform

from blush.io.mrc import read_volume
from blush.report.map_view import scene_of, shape_at, step_of, view
from blush.report.run_data import unchanged

COLOURS = ("#4e79c4", "#e08a2e", "#4da06a", "#c4545c", "#8d6cc0", "#38a9b8")
"""Of bodies in the view; after the last the first again."""
_MARGIN_PX = 2


def bodies_view(root: Path, names: Sequence[str]) -> str:
    """HTML of the section; empty before the run has finished."""
    marks = [f"body{index:03d}" for index in range(1, len(names) + 1)]
    maps, masks = ([root / f"run_{mark}{end}.mrc" for mark in marks] for end in ("", "_mask"))
    if not all(path.exists() for path in (*maps, *masks)):
        return ""
    inside = np.stack([read_volume(unchanged(path))[0] for path in masks])
    pixel_angst = read_volume(unchanged(masks[0]))[1]
    total = np.maximum(inside.sum(0), 1)
    joined = sum(read_volume(unchanged(path))[0] * mask / total for path, mask in zip(maps, inside, strict=True))
    whose = inside.argmax(0).astype(np.float32)
    spans = [np.flatnonzero((inside.max(0) > 0.01).any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    place = tuple(slice(max(0, int(span[0]) - _MARGIN_PX), int(span[-1]) + 1 + _MARGIN_PX) for span in spans)
    cut, step = joined[place], 2 * step_of(max(joined[place].shape))
    colour = affine_transform(whose[place], [step] * 3, output_shape=shape_at(cut.shape, step), order=0)
    parts = tuple((name, COLOURS[index % len(COLOURS)]) for index, name in enumerate(names))
    limits = (0.0, float(max(1, len(names) - 1)))
    return view(scene_of("Maps of all bodies", cut, pixel_angst, colour, limits, parts))
