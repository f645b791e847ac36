"""Poses of a half whose map was turned over, turned about its axis and moved along it. No torch here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.geometry.helix import nearest_zero

Floats = NDArray[np.float64]


def turned_poses(poses: Floats, angle_deg: float, shift_angst: float) -> Floats:
    """Poses against the map V'(y) = V(R(angle) (x, y), z - shift turned over about x) of those against V.

    A view of a map that is turned over by 180 degrees about x has the opposite rot, and all else as if the filament ran
    the other way.

    Parameters
    ----------
    poses
        (..., 5) rot, tilt, psi, offsets x and y; NaN stays.
    """
    rot, tilt, psi = -poses[..., 0] - angle_deg, 180 - poses[..., 1], nearest_zero(poses[..., 2] + 180, 360.0)
    q, t = np.deg2rad(psi), np.deg2rad(tilt)
    axis = np.stack((-np.cos(q) * np.sin(t), np.sin(q) * np.sin(t)), -1)
    turned = np.stack((nearest_zero(rot, 360.0), tilt, psi), -1)
    return np.concatenate((turned, poses[..., 3:] + shift_angst * axis), -1)


def turned_columns(
    columns: dict[str, NDArray[Any]], rows: NDArray[np.int64], names: tuple[str, ...], motion: Floats
) -> dict[str, NDArray[Any]]:
    """Columns of all segments in which the poses at `rows` are against the turned map.

    Parameters
    ----------
    names
        The columns of a pose.
    motion
        Angle in degrees and shift in Å.
    """
    angle_deg, shift_angst = (float(one) for one in motion)
    poses = np.stack([columns[name] for name in names], 1)
    poses[rows] = turned_poses(poses[rows], angle_deg, shift_angst)
    either = columns["polarity_pose"].copy()
    either[rows] = turned_poses(either[rows][:, ::-1], angle_deg, shift_angst)
    return {**dict(zip(names, poses.T, strict=True)), "polarity_pose": either}
