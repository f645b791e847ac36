"""Poses of cryoSPARC and of RELION, each from the other.

`pose` is a rotation vector: its direction the axis, its length the angle in radians, counter-clockwise seen along it
(https://discuss.cryosparc.com/t/its-time-i-admit-i-dont-know-what-rodrigues-vectors-are/11069). It turns the frame of
the particle's image into that of the volume, as cryoSPARC's developers have it in
https://github.com/cryoem-uoft/cryosparc-examples/blob/main/subparticle-defocus/adjust_defocus.py; RELION's matrix A
goes the other way, so `pose` is the vector of A transposed, Rz(rot) Ry(tilt) Rz(psi) of turns by the right hand.
`shift` is in pixels of `psize_A`, and is what the image is moved by to centre the particle, as is `rlnOrigin`: jobs
that extract again subtract either from the coordinates.
"""

import numpy as np


def euler_from_pose(pose: np.ndarray) -> np.ndarray:
    """Angles rot, tilt, psi (n, 3) in degrees, tilt in [0, 180], of rotation vectors (n, 3) in radians.

    Where the tilt is 0 or 180 only a sum or difference of rot and psi is defined, and psi is 0.
    """
    from scipy.spatial.transform import Rotation  # a third of a second, which no step of a workflow needs

    turn = Rotation.from_rotvec(pose).as_matrix()
    sine = np.hypot(turn[:, 0, 2], turn[:, 1, 2])
    at_pole = sine < 1e-7
    rot = np.where(at_pole, 0.0, np.arctan2(turn[:, 1, 2], turn[:, 0, 2]))
    psi = np.where(at_pole, 0.0, np.arctan2(turn[:, 2, 1], -turn[:, 2, 0]))
    rot = np.where(at_pole, np.arctan2(-turn[:, 0, 1], turn[:, 1, 1]), rot)
    tilt = np.arctan2(sine, turn[:, 2, 2])
    return np.rad2deg(np.stack([rot, tilt, psi], 1))


def pose_from_euler(euler_deg: np.ndarray) -> np.ndarray:
    """Rotation vectors (n, 3) in radians of angles rot, tilt, psi (n, 3) in degrees."""
    from scipy.spatial.transform import Rotation

    vectors: np.ndarray = Rotation.from_euler("ZYZ", euler_deg, degrees=True).as_rotvec()
    return vectors
