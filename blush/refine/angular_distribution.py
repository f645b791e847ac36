"""How often each viewing direction was found, as a figure that ChimeraX draws around the map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.io.files import atomic_write

Floats = NDArray[np.float64]

HEALPIX_ORDER = 3
_CHUNK = 8192
_LONGEST = 0.3  # of the sphere's radius


def direction_counts(rot_deg: Floats, tilt_deg: Floats, centres: Floats) -> NDArray[np.int64]:
    """Particles per cell: each counts for the centre nearest to its direction.

    Parameters
    ----------
    rot_deg, tilt_deg
        (n,)
    centres
        (cells, 3) unit vectors.

    Returns
    -------
    (cells,), summing to n.
    """
    views = unit_vectors(rot_deg, tilt_deg)
    nearest = [np.argmax(views[i : i + _CHUNK] @ centres.T, axis=1) for i in range(0, len(views), _CHUNK)]
    return np.bincount(np.concatenate(nearest) if nearest else np.zeros(0, int), minlength=len(centres))


def unit_vectors(rot_deg: Floats, tilt_deg: Floats) -> Floats:
    """Viewing directions (n, 3): x y z in the map."""
    rot, tilt = np.radians(rot_deg), np.radians(tilt_deg)
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], axis=1)


def write_angular_distribution(
    path: Path, rot_deg: Floats, tilt_deg: Floats, box_px: int, pixel_size_angst: float
) -> None:
    """Write a `.bild` file: a cylinder per direction found, longer and redder the more particles it has.

    Cylinders stand on the sphere that touches the box, about the map's centre, in Å as the map's own axes.
    """
    centres = _cell_centres()
    counts = direction_counts(rot_deg, tilt_deg, centres)
    share = counts / max(counts.max(), 1)
    radius = box_px * pixel_size_angst / 2
    middle = box_px // 2 * pixel_size_angst
    foot = middle + radius * centres
    top = middle + radius * (1 + _LONGEST * share[:, None]) * centres
    width = 0.4 * radius * np.radians(60.0 / 2**HEALPIX_ORDER)
    lines = [
        f".color {s:.4f} 0 {1 - s:.4f}\n.cylinder {' '.join(f'{v:.3f}' for v in (*a, *b))} {width:.3f}"
        for s, a, b in zip(share[counts > 0], foot[counts > 0], top[counts > 0], strict=True)
    ]
    with atomic_write(path) as beside:
        beside.write_text("\n".join(lines) + "\n")


def _cell_centres() -> Floats:
    from blush.geometry.healpix import pixel_directions  # torch takes seconds; the steps before the end do without it

    rot_deg, tilt_deg = pixel_directions(HEALPIX_ORDER)
    return unit_vectors(rot_deg.numpy(), tilt_deg.numpy())
