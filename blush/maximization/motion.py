"""The covariance of a body's motions, from what each image shows of its own.

numpy only: the convergence rule imports it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_VARIANCE = np.array([1e-8] * 3 + [1e-6] * 3)
"""Of rotation vectors in rad^2 and displacements in square Å: far below any step of a search."""


def first_motion(sigma_rotation_deg: float, sigma_offset_angst: float) -> Floats:
    """(6, 6) covariance of equal widths about all axes, without coupling."""
    widths = [np.deg2rad(sigma_rotation_deg)] * 3 + [sigma_offset_angst] * 3
    return np.diag(np.square(widths))


def update_motion(motion: Floats, views: Floats, square: Floats) -> Floats:
    """One step of expectation-maximisation for the covariance of motions of mean zero.

    An image shows y = H xi of a motion xi = (w, t): the rotation vector, and the two components of the displacement
    across its line of sight, H = [[1, 0], [0, A_xy]]. Given y, xi is Gaussian with mean K y and covariance S - K H S,
    K = S H^T (H S H^T)^-1, where S is the present covariance; the new one is the mean of E[xi xi^T].

    Parameters
    ----------
    motion
        (6, 6) the covariance under which posteriors were computed.
    views
        (n, 3, 3) given rotations A.
    square
        (n, 5, 5) second moments E[y y^T] of each image's posterior.

    Returns
    -------
    (6, 6).

    References
    ----------
    Bovy, Hogg & Roweis 2011, doi:10.1214/10-AOAS439, section 2, for observations that are projections.
    """
    shown = np.zeros((len(views), 5, 6))
    shown[:, :3, :3] = np.eye(3)
    shown[:, 3:, 3:] = views[:, :2]
    across = motion @ shown.transpose(0, 2, 1)
    gain = across @ np.linalg.inv(shown @ across)
    found = gain @ square @ gain.transpose(0, 2, 1) + motion - gain @ across.transpose(0, 2, 1)
    mean = found.mean(0)
    updated: Floats = (mean + mean.T) / 2 + np.diag(LEAST_VARIANCE)
    return updated
