"""The covariance of a body's motions, from what each image shows of its own.

numpy only: the convergence rule imports it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEAST_VARIANCE = np.array([1e-8, 1e-8, 1e-8, 1e-6, 1e-6, 1e-6])
"""Of rotation vectors in rad^2 and displacements in square Å: far below any step of a search."""

STEPS = 5


def first_motion(sigma_rotation_deg: float, sigma_offset_angst: float) -> Floats:
    """(6, 6) covariance of equal widths about all axes, without coupling."""
    widths = [np.deg2rad(sigma_rotation_deg)] * 3 + [sigma_offset_angst] * 3
    return np.diag(np.square(widths))


def update_motion(motion: Floats, views: Floats, mean: Floats, square: Floats) -> Floats:
    """Covariance of motions of mean zero, by expectation-maximisation from what images show of theirs.

    An image shows y = H xi of a motion xi = (w, t): the rotation vector, and the two components of the displacement
    across its line of sight, H = [[1, 0], [0, A_xy]]. Given y, xi is Gaussian with mean K y and covariance S - K H S,
    K = S H^T (H S H^T)^-1, where S is the present covariance; the next one is the mean of E[xi xi^T]. The first step is
    exact. For the others, each image's posterior is taken for Gaussian, and the prior under which it was computed is
    exchanged for the present one: steps are small where images say little, and an expectation step costs far more.

    Parameters
    ----------
    motion
        (6, 6) the covariance under which posteriors were computed.
    views
        (n, 3, 3) given rotations A.
    mean, square
        (n, 5) and (n, 5, 5) first and second moments of y over each image's posterior.

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
    weight, precision = _likelihoods(shown @ motion @ shown.transpose(0, 2, 1), mean, square)
    found = motion
    for _ in range(STEPS):
        found = _step(found, shown, square)
        covariance = np.linalg.inv(precision + np.linalg.inv(shown @ found @ shown.transpose(0, 2, 1)))
        centre = covariance @ weight
        square = covariance + centre @ centre.transpose(0, 2, 1)
    return found


def _likelihoods(prior: Floats, mean: Floats, square: Floats) -> tuple[Floats, Floats]:
    """What images say without the prior: precision times mean (n, 5, 1), and precision (n, 5, 5).

    Where the samples of a posterior are wider than the prior, as on a grid that is coarser than it, nothing was said.
    """
    covariance = square - mean[:, :, None] * mean[:, None] + np.diag(LEAST_VARIANCE[:5])
    before = np.linalg.inv(prior)
    values, axes = np.linalg.eigh(np.linalg.inv(covariance) - before)
    precision: Floats = (axes * np.maximum(values, 0)[:, None]) @ axes.transpose(0, 2, 1)
    said = (axes * (values > 0)[:, None]) @ axes.transpose(0, 2, 1)
    return said @ (precision + before) @ mean[:, :, None], precision


def _step(motion: Floats, shown: Floats, square: Floats) -> Floats:
    across = motion @ shown.transpose(0, 2, 1)
    gain = across @ np.linalg.inv(shown @ across)
    found = gain @ square @ gain.transpose(0, 2, 1) + motion - gain @ across.transpose(0, 2, 1)
    mean = found.mean(0)
    updated: Floats = (mean + mean.T) / 2 + np.diag(LEAST_VARIANCE)
    return updated
