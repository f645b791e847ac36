"""Pictures of maps: slices and projections as PNG, local resolution with its scale."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from matplotlib.image import imsave
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, zoom

from blush.io.mrc import read_volume
from blush.jobs.layout import RunFolder
from blush.report.run_data import RunData, unchanged
from blush.report.style import SERIES, drawing, svg

AXES = ("z", "y", "x")
LOCAL_COLOURS = "viridis_r"
"""Of local resolution, from fine to coarse."""
OUTLINED_PX = 256
"""Pictures with an outline are made finer until they are about as wide."""
_OUTLINE = (0.95, 0.55, 0.10)
Image = NDArray[np.float32]
Volume = NDArray[np.float32]


def map_images(run: RunData) -> dict[str, list[str]]:
    """Central slices and projections of the sharpened map, else of the final one, else of the last reference.

    Returns
    -------
    PNG data addresses for views along z, y and x, by `slices` and `projections`; empty before iteration 0.
    """
    path = best_map(run)
    if path is None:
        return {}
    volume, _ = read_volume(unchanged(path))
    mask = run.folder / "mask.mrc"
    inside = read_volume(unchanged(mask))[0] if mask.exists() and path.parent == run.folder else None
    return {
        "slices": [png(outlined(volume, inside, axis)) for axis in range(3)],
        "projections": [png(volume.sum(axis)) for axis in range(3)],
    }


def outlined(volume: Volume, mask: Volume | None, axis: int) -> Image:
    """Central slice along an axis, with the outline of the mask where there is one: (h, w), or (h, w, 3) colours."""
    middle = volume.shape[axis] // 2
    cut = np.take(volume, middle, axis)
    if mask is None:
        return cut
    finer = max(1, round(OUTLINED_PX / max(cut.shape)))
    low, high = np.quantile(cut, [0.01, 0.998])
    grey = zoom(np.clip((cut - low) / max(high - low, 1e-30), 0, 1), finer, order=0)
    inside = zoom(np.take(mask, middle, axis), finer, order=1) > 0.5
    edge = inside & ~binary_erosion(inside)
    picture: Image = np.where(edge[..., None], np.array(_OUTLINE), grey[..., None]).astype(np.float32)
    return picture


def best_map(run: RunData) -> Path | None:
    """The most finished map that is there."""
    candidates = [run.folder / "postprocess_masked.mrc", run.root / "run_class001.mrc"]
    folder = RunFolder(run.root)
    candidates += [path for s in reversed(run.states) for path in folder.present_references(s.iteration)[:1]]
    return next((path for path in candidates if path.exists()), None)


def png(image: Image, limits: tuple[float, float] | None = None, colours: str = "gray") -> str:
    """A picture as a data address, y upwards.

    Parameters
    ----------
    image
        (h, w), or (h, w, 3) of colours from 0 to 1.
    limits
        Values shown in the first and the last colour; None: the 1st and the 99.8th percentile.
    """
    target = io.BytesIO()
    if image.ndim == 3:
        imsave(target, np.clip(image, 0, 1), origin="lower", format="png")
    else:
        low, high = np.quantile(image, [0.01, 0.998]) if limits is None else limits
        scaled = np.clip((image - low) / max(high - low, 1e-30), 0, 1)
        imsave(target, scaled, vmin=0, vmax=1, cmap=colours, origin="lower", format="png")
    return "data:image/png;base64," + base64.b64encode(target.getvalue()).decode()


def surface_level(volume: Volume) -> float:
    """Density between molecule and solvent: half-way between the mean of what is above and of what is below.

    Voxels that a mask set to 0 do not count.

    References
    ----------
    Ridler & Calvard 1978, doi:10.1109/TSMC.1978.4310039.
    """
    values = volume[volume != 0].astype(np.float64)
    if not len(values) or values.min() == values.max():
        return 0.0
    level, before = float(values.mean()), np.inf
    while abs(level - before) > 1e-4 * np.ptp(values):
        above = values > level
        level, before = float((values[above].mean() + values[~above].mean()) / 2), level
    return level


def local_limits(run: RunData, local: Volume) -> tuple[float, float]:
    """Local resolutions in Å to show in the first and the last colour: from the mask, less the extremes."""
    inside = _inside(run, local)
    if not inside.any():
        return float(local.min()), float(local.max())
    low, high = np.quantile(local[inside], [0.01, 0.95])
    return float(low), float(max(high, low * 1.05))


def _inside(run: RunData, local: Volume) -> NDArray[np.bool_]:
    """Voxels of the mask; all where there is none."""
    mask = run.folder / "mask.mrc"
    return read_volume(unchanged(mask))[0] > 0.5 if mask.exists() else np.ones(local.shape, dtype=bool)


def local_resolution(run: RunData) -> str | None:
    """Central slices of the local resolution inside the mask, and its histogram."""
    path = run.folder / "locres.mrc"
    if not path.exists():
        return None
    local, _ = read_volume(unchanged(path))
    inside = _inside(run, local)
    if not inside.any():
        return None
    low, high = local_limits(run, local)
    with drawing(9.6, 2.6, ncols=4, width_ratios=(1, 1, 1, 1.25)) as (figure, axes):
        for axis, place in enumerate(axes[:3]):
            middle = local.shape[axis] // 2
            section = np.where(np.take(inside, middle, axis), np.take(local, middle, axis), np.nan)
            shown = place.imshow(
                section, origin="lower", cmap=LOCAL_COLOURS, vmin=low, vmax=high, interpolation="nearest"
            )
            place.set_title(f"along {AXES[axis]}")
            place.set_axis_off()
        bar = figure.colorbar(shown, ax=axes[2], label="Å", fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        axes[3].hist(local[inside].clip(low, high), 30, color=SERIES[0])
        axes[3].set_title("Voxels in the mask")
        axes[3].set_xlabel("Local resolution (Å)")
        axes[3].grid(axis="x", visible=False)
        axes[3].set_yticks([])
        return svg(figure, "local-resolution")
