"""Pictures of class maps: slices, projections and surfaces on one scale for all, and where the maps differ."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from blush.io.mrc import read_volume
from blush.report.class_data import ClassData
from blush.report.map_figures import AXES, Image, Volume, png, surface_level
from blush.report.run_data import unchanged

SURFACE_PX = 128
"""Maps are made finer until pictures of their surfaces are about as wide..."""
MOST_FINER = 3
"""... but no more than by this."""
SMOOTH_PX = 2.0
"""Width of the place at which classes differ most, so that a single voxel is none."""
_LIGHT = np.array([-0.75, 0.5, 0.43])
"""Towards the light: from behind the viewer, up and to the right; length 1."""
_PLAIN, _MARKED = np.array([0.80, 0.84, 0.88]), np.array([0.95, 0.55, 0.10])
Picture = tuple[str, str]
"""Caption and PNG data address."""


@dataclass(frozen=True)
class ClassPictures:
    """Rows of pictures, three each: along z, y and x.

    Attributes
    ----------
    by_class
        By number of the class: slices and projections.
    surfaces, differences
        By number of the class.
    mean, confirmed
        Slices at `place`.
    place
        Voxel (z, y, x) at which the classes differ most.
    """

    by_class: dict[int, list[Picture]]
    surfaces: dict[int, list[Picture]]
    differences: dict[int, list[Picture]]
    mean: list[Picture]
    confirmed: list[Picture]
    place: tuple[int, int, int]


def class_pictures(data: ClassData) -> ClassPictures | None:
    """Draw the maps of the last iteration, one map in memory at a time; None before there are any."""
    if not data.maps or data.run.last is None:
        return None
    shares = data.run.last.references.share
    mean = _mean(data, shares)
    place = _place(data, shares, mean)
    confirmed = read_volume(unchanged(data.confirmed))[0] if data.confirmed else None
    level, marks = surface_level(mean), finer(np.zeros_like(mean) if confirmed is None else confirmed, 1)
    slices, projections, surfaces, differences = {}, {}, {}, {}
    for k, volume in _volumes(data, data.shown):
        slices[k] = _cuts(volume, _middle(volume))
        projections[k] = [volume.sum(axis) for axis in range(3)]
        fine = finer(volume, 2)
        surfaces[k] = [surface(fine, marks, level, axis) for axis in range(3)]
        differences[k] = _cuts(volume - mean, place)
    grey = [_limits(rows) for rows in (slices, projections)]
    most = max(float(np.abs(cut).max()) for row in differences.values() for cut in row)
    return ClassPictures(
        by_class={
            k + 1: _row("slice", slices[k], grey[0]) + _row("projection", projections[k], grey[1]) for k in slices
        },
        surfaces={k + 1: [(f"class {k + 1} from {a}", png(p)) for a, p in zip(AXES, surfaces[k], strict=True)]
                  for k in surfaces},
        differences={k + 1: _row(f"class {k + 1} − mean,", differences[k], (-most, most), "RdBu_r")
                     for k in differences},
        mean=_row("mean,", _cuts(mean, place), grey[0]),
        confirmed=[] if confirmed is None else _row("confirmed,", _cuts(confirmed, place), (0.0, 1.0)),
        place=place,
    )  # fmt: skip


def _volumes(data: ClassData, classes: list[int]) -> Iterator[tuple[int, Volume]]:
    for k in classes:
        yield k, read_volume(unchanged(data.maps[k]))[0]


def _mean(data: ClassData, shares: NDArray[np.float64]) -> Volume:
    """Mean of all maps, by the shares of their classes."""
    total: Volume | None = None
    for k, volume in _volumes(data, list(range(data.n_classes))):
        part = (shares[k] * volume).astype(np.float32)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("a classification without classes")
    return total / np.float32(shares.sum())


def _place(data: ClassData, shares: NDArray[np.float64], mean: Volume) -> tuple[int, int, int]:
    """Voxel around which the maps differ most from their mean."""
    spread = np.zeros_like(mean)
    for k, volume in _volumes(data, list(range(data.n_classes))):
        spread += np.float32(shares[k]) * (volume - mean) ** 2
    z, y, x = np.unravel_index(int(np.argmax(gaussian_filter(spread, SMOOTH_PX))), spread.shape)
    return int(z), int(y), int(x)


def _middle(volume: Volume) -> tuple[int, int, int]:
    z, y, x = (side // 2 for side in volume.shape)
    return z, y, x


def _cuts(volume: Volume, place: tuple[int, int, int]) -> list[Image]:
    return [np.take(volume, place[axis], axis) for axis in range(3)]


def _row(what: str, images: list[Image], limits: tuple[float, float], colours: str = "gray") -> list[Picture]:
    return [(f"{what} {axis}", png(image, limits, colours)) for axis, image in zip(AXES, images, strict=True)]


def _limits(rows: dict[int, list[Image]]) -> tuple[float, float]:
    """One scale for all pictures of a kind."""
    values = np.concatenate([image.ravel() for row in rows.values() for image in row])
    low, high = np.quantile(values, [0.01, 0.998])
    return float(low), float(high)


def finer(volume: Volume, order: int) -> Volume:
    """The map on a grid that is fine enough to look at, by splines of this order."""
    factor = min(MOST_FINER, max(1, round(SURFACE_PX / len(volume))))
    found: Volume = zoom(volume, factor, order=order) if factor > 1 else volume
    return found


def surface(volume: Volume, marks: Volume, level: float, axis: int) -> Image:
    """(N, N, 3) picture of the surface where the density is `level`, as seen from the far end of an axis.

    Parameters
    ----------
    marks
        From 0 to 1: how much of the second colour the surface has at a place.
    """
    seen, marked = (np.moveaxis(one, axis, 0)[::-1] for one in (volume, marks))
    above = seen > level
    first = above.argmax(0)
    at = (first, *np.indices(first.shape))
    slopes = np.stack([_step(seen, at, i, -1) - _step(seen, at, i, 1) for i in range(3)])
    normals = slopes / np.maximum(np.linalg.norm(slopes, axis=0), 1e-30)
    light = 0.2 + 0.8 * np.clip(np.einsum("i,ijk->jk", _LIGHT, normals), 0, 1)
    near = 1 - 0.45 * first / len(seen)
    share = np.expand_dims(np.clip(marked[at], 0, 1), -1)
    picture: Image = (_PLAIN * (1 - share) + _MARKED * share) * np.expand_dims(light * near * above.any(0), -1)
    return picture


def _step(volume: Volume, at: tuple[NDArray[np.int64], ...], axis: int, by: int) -> Volume:
    """Density of the neighbours of some voxels along an axis; at the border that of the voxels themselves."""
    moved = list(at)
    moved[axis] = np.clip(at[axis] + by, 0, volume.shape[axis] - 1)
    found: Volume = volume[tuple(moved)]
    return found
