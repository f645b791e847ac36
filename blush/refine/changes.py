"""How far poses moved between two iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PoseChange:
    """Overall change of the poses of one iteration.

    `class_fraction` is the fraction of particles that changed class; 0 with a single class.
    """

    rotation_deg: float
    offset_angst: float
    class_fraction: float = 0.0


def pose_change(old: Mapping[str, Floats], new: Mapping[str, Floats], operators: Floats) -> PoseChange:
    """Change from `old` to `new` poses of the same particles in the same order.

    Parameters
    ----------
    old, new
        Columns rot_deg, tilt_deg, psi_deg, offset_x_angst, offset_y_angst and, where there are classes, class_number;
        each (n,).
    operators
        (m, 3, 3) point-group operators acting on the volume, the identity included.

    Returns
    -------
    Mean over particles of the rotation change, root mean square per axis of the offset change, fraction of class
    changes. No particles: no change.
    """
    if len(old["rot_deg"]) != len(new["rot_deg"]):
        raise ValueError(f"{len(old['rot_deg'])} old poses against {len(new['rot_deg'])} new ones")
    if not len(new["rot_deg"]):
        return PoseChange(0.0, 0.0)
    rotation = rotation_change_deg(rotations(old), rotations(new), operators)
    dx = new["offset_x_angst"] - old["offset_x_angst"]
    dy = new["offset_y_angst"] - old["offset_y_angst"]
    moved = np.mean(old["class_number"] != new["class_number"]) if "class_number" in old else 0.0
    return PoseChange(float(rotation.mean()), float(np.sqrt(np.mean(dx**2 + dy**2) / 2)), float(moved))


def rotation_change_deg(old: Floats, new: Floats, operators: Floats) -> Floats:
    """Mean angle between the three image axes of two poses, for the closest symmetry mate.

    Parameters
    ----------
    old, new
        (n, 3, 3) volume-to-image rotations; their rows are the image axes in the volume.
    operators
        (m, 3, 3).

    Returns
    -------
    (n,) degrees, in [0, 180].
    """
    closest = np.full(len(old), np.inf)
    for operator in np.asarray(operators, dtype=np.float64):
        cosines = np.einsum("nij,nij->ni", old, new @ operator)
        angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
        np.minimum(closest, angles.mean(axis=1), out=closest)
    return closest


def rotations(poses: Mapping[str, Floats]) -> Floats:
    """Rz(psi) Ry(tilt) Rz(rot), (n, 3, 3); RELION's A. Written out in numpy: this step must start without torch."""
    rot, tilt, psi = (np.radians(np.asarray(poses[k], dtype=np.float64)) for k in ("rot_deg", "tilt_deg", "psi_deg"))
    return _about_z(psi) @ _about_y(tilt) @ _about_z(rot)


def _about_z(angle: Floats) -> Floats:
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return _stack([c, s, zero], [-s, c, zero], [zero, zero, zero + 1])


def _about_y(angle: Floats) -> Floats:
    c, s, zero = np.cos(angle), np.sin(angle), np.zeros_like(angle)
    return _stack([c, zero, -s], [zero, zero + 1, zero], [s, zero, c])


def _stack(*rows: list[Floats]) -> Floats:
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
