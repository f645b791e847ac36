"""What each image says of the motions of all bodies: without the prior, with the molecule's own motion apart.

All bodies of an image share the errors of its consensus pose, and what moves the molecule as a whole moves nothing in
it. So bodies are superposed in each image, weighted by their volumes (the frame of Eckart); how far the whole has moved
for that is known of each image too, and its spread over the images is learned with the other motions.

Coordinates are sqrt(v_b / v) (J_b^(1/2) w_b, t_b) over all bodies: w is the rotation vector, t the displacement, v_b
the volume of a body, and J_b = tr(G) 1 - G with its spread G. The square of their length is the mean square
displacement of the density of all bodies, in Å², so that rotations and shifts compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, null_space, sqrtm
from scipy.spatial.transform import Rotation

from blush.bodies.motions import BodyMotions

Floats = NDArray[np.float64]
PRIOR_ALONE = 0.95
"""Share of a posterior's precision from which all of it counts as the prior's: what remains says nothing."""


@dataclass(frozen=True)
class Frame:
    """Coordinates of the motions of bodies.

    Attributes
    ----------
    bodies
        Indices of the F bodies that were refined.
    scale
        (F, 6, 6) from (w, t) of a body to its coordinates.
    inside
        (6 F, d) orthonormal: motions inside the molecule. d is 6 F - 6, or 6 where only one body was refined, whose
        motion is against the consensus.
    whole
        (6 F, 6) motions of the molecule as a whole, for a rotation vector about the centre of the box and a shift; of
        one refined body there are none, (6, 0).
    """

    bodies: tuple[int, ...]
    scale: Floats
    inside: Floats
    whole: Floats

    @classmethod
    def of(cls, motions: BodyMotions) -> Frame:
        """The frame of a record."""
        bodies = tuple(np.flatnonzero(motions.refined).tolist())
        volume = motions.volume_angst3[list(bodies)]
        scale = np.zeros((len(bodies), 6, 6))
        for row, b in enumerate(bodies):
            middle = motions.middle_angst[b]
            spread = motions.spread_angst2[b] - np.outer(middle, middle)
            share = np.sqrt(volume[row] / volume.sum())
            scale[row, :3, :3] = share * np.real(sqrtm(np.trace(spread) * np.eye(3) - spread))
            scale[row, 3:, :3] = share * _whole(middle)[3:, :3]  # w x middle: shifts are of the middle
            scale[row, 3:, 3:] = share * np.eye(3)
        if len(bodies) == 1:
            return cls(bodies, scale, np.eye(6), np.zeros((6, 0)))
        whole = np.concatenate([scale[row] @ _whole(motions.centre_angst[b]) for row, b in enumerate(bodies)])
        return cls(bodies, scale, _signed(null_space(whole.T)), whole)

    def motion(self, coordinates: Floats) -> Floats:
        """(F, ..., 6) rotation vectors and displacements of coordinates (..., 6 F)."""
        parts = np.split(coordinates, len(self.bodies), axis=-1)
        return np.stack([part @ np.linalg.inv(scale).T for part, scale in zip(parts, self.scale, strict=True)])

    def covariance_of(self, motion: Floats) -> Floats:
        """(6 F, 6 F) of coordinates, from those of each refined body's motion (F, 6, 6)."""
        return np.asarray(block_diag(*(self.scale @ motion @ self.scale.swapaxes(1, 2))))


@dataclass(frozen=True)
class Evidence:
    """Log likelihoods x.score - x.information x / 2 of coordinates x of n images.

    Attributes
    ----------
    information
        (n, d, d) positive semidefinite.
    score
        (n, d).
    uninformed
        (F,) mean number of directions, of five, in which nothing but the prior is known of a body.
    """

    information: Floats
    score: Floats
    uninformed: Floats


def evidence_of(motions: BodyMotions, frame: Frame) -> Evidence:
    """What the images of a record say, with their priors divided out.

    Where a posterior is hardly narrower than its prior (`PRIOR_ALONE`), the image says nothing of that direction.
    """
    size, n = 6 * len(frame.bodies), motions.n_images
    information, score = np.zeros((n, size, size)), np.zeros((n, size))
    nothing = np.zeros((n, len(frame.bodies)))
    views, whole, turned, shifts = _superposed(motions, frame)
    for row, b in enumerate(frame.bodies):
        known, slope, nothing[:, row] = _about_mean(motions, b)
        turn = Rotation.from_matrix(turned[row]).as_rotvec()
        from_vector = np.linalg.inv(_to_vector(turn))
        back = from_vector @ _shown(views) @ np.linalg.inv(frame.scale[row])
        place, at = slice(6 * row, 6 * row + 6), np.concatenate([turn, shifts[row]], 1)
        slope = slope + np.einsum("nij,njk,nk->ni", known, from_vector, at)
        information[:, place, place] = back.swapaxes(1, 2) @ known @ back
        score[:, place] = np.einsum("nij,ni->nj", back, slope)
    if len(frame.bodies) > 1:
        score += np.einsum("nij,nj->ni", information, whole @ frame.whole.T)
    return Evidence((information + information.swapaxes(1, 2)) / 2, score, nothing.mean(0))


def _about_mean(motions: BodyMotions, b: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Likelihood of a body in each image about the posterior's mean, in right perturbations and seen shifts.

    Returns
    -------
    (n, 5, 5) information, (n, 5) slope at the mean, and (n,) the number of directions that have none.
    """
    turn = Rotation.from_matrix(motions.rotations[b]).as_rotvec()
    mean, to_vector = np.concatenate([turn, motions.shift_angst[b]], 1), _to_vector(turn)
    shown = _shown(motions.views)
    covariance = to_vector @ motions.covariance[b] @ to_vector.swapaxes(1, 2)
    of_prior = np.linalg.inv(shown @ motions.prior[motions.half - 1, b] @ shown.swapaxes(1, 2))
    known, score, nothing = without_prior(mean, covariance, of_prior, _error_of_grid(covariance, motions.grid[b]))
    slope = score - np.einsum("nij,nj->ni", known, mean)
    return to_vector.swapaxes(1, 2) @ known @ to_vector, np.einsum("nij,ni->nj", to_vector, slope), nothing


def _superposed(motions: BodyMotions, frame: Frame) -> tuple[Floats, Floats, Floats, Floats]:
    """Poses that superpose the bodies as each image has them, and motions against these.

    Returns
    -------
    (n, 3, 3) orientations; (n, 6) the motion of the whole by which they differ from the consensus, its shift along the
    view unknown and 0; and (F, n, 3, 3) rotations and (F, n, 2) seen shifts of the bodies.
    """
    bodies = list(frame.bodies)
    rotations, centres = motions.rotations[bodies], motions.centre_angst[bodies]
    if len(bodies) == 1:
        return motions.views, np.zeros((motions.n_images, 6)), rotations, motions.shift_angst[bodies]
    share = motions.volume_angst3[bodies] / motions.volume_angst3[bodies].sum()
    u, _, v = np.linalg.svd(np.einsum("b,bnij->nij", share, rotations))
    u[:, :, 2] *= np.linalg.det(u @ v)[:, None]
    turn = u @ v
    views = motions.views @ turn
    seen = motions.shift_angst[bodies] + np.einsum("nij,bj->bni", (motions.views - views)[:, :2], centres)
    shift = np.einsum("b,bni->ni", share, seen)
    moved = np.einsum("nij,ni->nj", views[:, :2], shift)
    whole = np.concatenate([Rotation.from_matrix(turn).as_rotvec(), moved], 1)
    return views, whole, turn.swapaxes(1, 2) @ rotations, seen - shift


def _shown(views: Floats) -> Floats:
    """(n, 5, 6) what images show of (w, t): w, and t across the line of sight."""
    shown = np.zeros((len(views), 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = np.eye(3), views[:, :2]
    return shown


def without_prior(
    mean: Floats, covariance: Floats, of_prior: Floats, error: Floats
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Likelihoods whose products with priors of mean 0 are given posteriors.

    A likelihood of information K and maximum m has under a prior of precision P the posterior mean C K m, with
    C = (K + P)^-1. Seen with a further error of covariance E, that mean is a measurement of C K x with the covariance
    C K C + E; without, all of it gives K back.

    Parameters
    ----------
    mean, covariance
        (n, d) and (n, d, d) of the posteriors.
    of_prior
        (n, d, d) precision of the priors.
    error
        (n, d, d) covariance of errors of the means, positive semidefinite.

    Returns
    -------
    (n, d, d) information and (n, d) score of each likelihood, and (n,) the number of directions that have none: there
    the prior makes up more than `PRIOR_ALONE` of the posterior's precision.
    """
    root = np.linalg.cholesky(covariance)
    share, axes = np.linalg.eigh(root.swapaxes(1, 2) @ of_prior @ root)  # of the precision, that of the prior
    onto = axes.swapaxes(1, 2) @ np.linalg.inv(root)
    told = share <= PRIOR_ALONE
    kept = np.where(told, 1 - share, 0.0)
    one = np.eye(mean.shape[1])
    noise = kept[:, :, None] * one + onto @ error @ onto.swapaxes(1, 2)
    noise = np.where(told[:, :, None] & told[:, None, :], noise, one)
    weight = kept[:, :, None] * np.linalg.inv(noise)
    back = onto.swapaxes(1, 2) @ weight
    information = back @ (kept[:, :, None] * onto)
    return information, np.einsum("nij,njk,nk->ni", back * told[:, None, :], onto, mean), np.sum(~told, 1)


def _error_of_grid(covariance: Floats, cell: Floats) -> Floats:
    """(n, 5, 5) covariance of errors of posteriors' means that come of sampling them on a grid of cells (5,).

    Of a Gaussian of standard deviation s at random steps, the mean is off by 4 pi s^2 exp(-2 pi^2 s^2) sin(phase) in
    steps, by Poisson's formula. Where it is as narrow as a cell, the mean may be anywhere in it.
    """
    if not (cell > 0).all():
        return np.zeros_like(covariance)
    scale = np.sqrt(cell)
    wide, axes = np.linalg.eigh(covariance / (scale[:, None] * scale))
    steps = wide / 12  # squares of standard deviations in steps
    error = 96 * np.pi**2 * steps**2 * np.exp(-4 * np.pi**2 * steps)
    error = np.where(wide <= 1 + 1e-6, 1.0, error)
    found: Floats = (axes * error[:, None, :]) @ axes.swapaxes(1, 2) * (scale[:, None] * scale)
    return found


def _to_vector(turn: Floats) -> Floats:
    """(n, 5, 5) change of rotation vectors and seen shifts by right perturbations of the rotations and shifts."""
    change = np.broadcast_to(np.eye(5), (len(turn), 5, 5)).copy()
    change[:, :3, :3] = _vector_change(turn)
    return change


def _vector_change(turn: Floats) -> Floats:
    """(n, 3, 3) derivative by d of log(exp([w]x) exp([d]x)).

    References
    ----------
    Sola, Deray & Atchuthan 2018, eq. 144, arXiv:1812.01537 (inverse right Jacobian of SO(3)).
    """
    angle = np.linalg.norm(turn, axis=1).clip(1e-6)
    x, y, z = turn.T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    factor = 1 / angle**2 - (1 + np.cos(angle)) / (2 * angle * np.sin(angle))
    factor = np.where(angle < 1e-3, 1 / 12, factor)
    return np.eye(3) + cross / 2 + factor[:, None, None] * cross @ cross


def _whole(centre: Floats) -> Floats:
    """(6, 6) motion (w, t) of a body at a centre when a small rotation about the origin and a shift move the whole."""
    x, y, z = centre
    change = np.eye(6)
    change[3:, :3] = [[0, z, -y], [-z, 0, x], [y, -x, 0]]
    return change


def _signed(basis: Floats) -> Floats:
    """The same basis with its largest entries positive."""
    return basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
