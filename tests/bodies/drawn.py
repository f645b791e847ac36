"""Motions drawn with known truth, and what an image with an uncertain pose says of them: nothing of it is our code."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from blush.bodies.motions import BodyMotions

CENTRES = np.array([[-28.0, -6.0, 4.0], [34.0, 14.0, -6.0], [4.0, 40.0, 30.0]])
HINGE = np.array([5.0, 2.0, 0.0])


@dataclass(frozen=True)
class Bodies:
    """What is known of bodies before anything moves: radii of balls in Å, widths of the priors."""

    centres: np.ndarray
    radii: tuple[float, ...]
    sigma_rotation_deg: float = 25.0
    sigma_offset_angst: float = 12.0


EQUAL = Bodies(CENTRES[:2], (28.0, 28.0))
SMALL = Bodies(CENTRES[:2], (30.0, 16.0))
THREE = Bodies(CENTRES, (28.0, 22.0, 20.0))


def turns(angles_deg, axis=(0.0, 0.0, 1.0)):
    """Rotations about an axis."""
    unit = np.asarray(axis) / np.linalg.norm(axis)
    return Rotation.from_rotvec(np.deg2rad(angles_deg)[:, None] * unit).as_matrix()


def about_hinge(rotations, centre, hinge=HINGE):
    """Displacement of the centre of a body that turns about a hinge."""
    return rotations @ (centre - hinge) - (centre - hinge)


def still(n, n_bodies):
    """Rotations and displacements of bodies that do not move."""
    return np.broadcast_to(np.eye(3), (n_bodies, n, 3, 3)).copy(), np.zeros((n_bodies, n, 3))


def hinge(bodies, angles_deg, axis=(0.0, 0.0, 1.0), body=1):
    """One body turns about the hinge."""
    rotations, shifts = still(len(angles_deg), len(bodies.radii))
    rotations[body] = turns(angles_deg, axis)
    shifts[body] = about_hinge(rotations[body], bodies.centres[body])
    return rotations, shifts


def seen(bodies, moved, seed, noise=(3.0, 1.0), consensus=(1.0, 0.5)):
    """The record that an honest refinement leaves of true motions.

    The consensus pose is off at random, bodies are measured with errors of the covariance that the likelihood has, and
    the posterior is under the prior.

    Parameters
    ----------
    moved
        Rotations (B, n, 3, 3) and displacements (B, n, 3).
    noise
        Degrees and Å of a body of 28 Å; smaller bodies are measured less well, images differ by a factor of 2.
    consensus
        Degrees and Å by which all bodies of an image are off together.
    """
    rng = np.random.default_rng(seed)
    rotations, shifts = moved
    n = rotations.shape[1]
    true_views = Rotation.random(n, rng).as_matrix()
    off = Rotation.from_rotvec(rng.normal(0, np.deg2rad(consensus[0]), (n, 3))).as_matrix()
    views = true_views @ off.swapaxes(1, 2)
    jump = rng.normal(0, consensus[1], (n, 3))
    prior = np.diag([np.deg2rad(bodies.sigma_rotation_deg)] * 3 + [bodies.sigma_offset_angst] * 3) ** 2
    found, shown, spread, volume = [], [], [], []
    for b, radius in enumerate(bodies.radii):
        turned = off @ rotations[b]
        moved_by = np.einsum("nij,nj->ni", off, bodies.centres[b] + shifts[b]) - bodies.centres[b] + jump
        mean, covariance = posterior(rng, views, turned, moved_by, prior, noise, 28.0 / radius)
        found.append(mean)
        shown.append(covariance)
        spread.append(np.eye(3) * radius**2 / 5)
        volume.append(4 / 3 * np.pi * radius**3)
    return BodyMotions(
        names=("core", "head", "arm")[: len(bodies.radii)],
        centre_angst=bodies.centres.copy(),
        refined=np.ones(len(bodies.radii), dtype=bool),
        volume_angst3=np.array(volume),
        middle_angst=np.zeros((len(spread), 3)),
        spread_angst2=np.array(spread),
        prior=np.broadcast_to(prior, (2, len(bodies.radii), 6, 6)).copy(),
        views=views,
        rotations=np.stack([rotation for rotation, _ in found]),
        shift_angst=np.stack([shift for _, shift in found]),
        covariance=np.stack(shown),
        grid=np.zeros((len(bodies.radii), 5)),
        half=np.arange(n) % 2 + 1,
    )


def posterior(rng, views, turned, moved_by, prior, noise, factor):
    """Mean (rotations, shifts) and covariance, as right perturbation, of one body in each image."""
    n = len(views)
    scale = factor**1.5 * 2 ** rng.uniform(-0.5, 0.5, n)
    widths = np.concatenate([np.full((n, 3), np.deg2rad(noise[0])), np.full((n, 2), noise[1])], 1) * scale[:, None]
    mixing = np.linalg.qr(rng.normal(size=(n, 5, 5)))[0]
    likelihood = np.einsum(
        "ni,nij,nj->nij",
        widths,
        np.eye(5) * 0.7 + 0.3 * mixing @ (mixing.swapaxes(1, 2) * np.linspace(0.2, 1.8, 5)[None, :, None]),
        widths,
    )
    shown = np.zeros((n, 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = np.eye(3), views[:, :2]
    truth = np.concatenate([Rotation.from_matrix(turned).as_rotvec(), moved_by], 1)
    measured = np.einsum("nij,nj->ni", shown, truth) + np.einsum(
        "nij,nj->ni", np.linalg.cholesky(likelihood), rng.normal(size=(n, 5))
    )
    of_prior = np.linalg.inv(shown @ prior @ shown.swapaxes(1, 2))
    covariance = np.linalg.inv(np.linalg.inv(likelihood) + of_prior)
    mean = np.einsum("nij,njk,nk->ni", covariance, np.linalg.inv(likelihood), measured)
    vector = mean[:, :3]
    back = np.broadcast_to(np.eye(5), (n, 5, 5)).copy()
    back[:, :3, :3] = right_jacobian(vector)
    return (Rotation.from_rotvec(vector).as_matrix(), mean[:, 3:]), back @ covariance @ back.swapaxes(1, 2)


def right_jacobian(vectors):
    """Derivative of log(exp(-w) exp(w + d)) by d, by differences: nothing of the closed form is assumed."""
    step = 1e-6
    base = Rotation.from_rotvec(vectors).inv()
    columns = [(base * Rotation.from_rotvec(vectors + step * unit)).as_rotvec() / step for unit in np.eye(3)]
    return np.stack(columns, -1)


def with_body_still(motions, body):
    """The same where one body was subtracted and never aligned."""
    refined = motions.refined.copy()
    refined[body] = False
    return replace(motions, refined=refined)
