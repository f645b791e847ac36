"""What each image says of the motions inside the molecule: without the prior, and without motions of the whole.

All bodies of an image share the errors of its consensus pose, and what moves the molecule as a whole moves nothing in
it. So motions are compared after the superposition of all bodies, weighted by their volumes (the frame of Eckart), and
of each image the motion of the whole is left free: nothing is assumed of how well consensus poses are known.

Coordinates are sqrt(v_b / v) (J_b^(1/2) w_b, t_b) over all bodies: w is the rotation vector, t the displacement, v_b
the volume of a body, and J_b = tr(G) 1 - G with its spread G. The square of their length is the mean square
displacement of the density of all bodies, in Å², so that rotations and shifts compare.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import null_space, sqrtm
from scipy.spatial.transform import Rotation

from blush.bodies.motions import BodyMotions

Floats = NDArray[np.float64]
PRIOR_ALONE = 0.95
"""Share of a posterior's precision from which all of it counts as the prior's: what remains says nothing."""
LEAST_TOLD = 1e-3
"""Information of images on a direction, over that on the best known one, below which they say nothing of it."""


@dataclass(frozen=True)
class Frame:
    """Coordinates of the motions of bodies.

    Attributes
    ----------
    bodies
        Indices of the F bodies that were refined.
    scale
        (F, 6, 6) from (w, t) of a body to its coordinates.
    basis
        (6 F, d) orthonormal: coordinates of motions inside the molecule. d is at most 6 F - 6, or 6 where only one body
        was refined, whose motion is against the consensus.
    """

    bodies: tuple[int, ...]
    scale: Floats
    basis: Floats

    @classmethod
    def of(cls, motions: BodyMotions) -> Frame:
        """The frame of a record."""
        bodies = tuple(np.flatnonzero(motions.refined).tolist())
        volume = motions.volume_angst3[list(bodies)]
        scale = np.zeros((len(bodies), 6, 6))
        for row, b in enumerate(bodies):
            spread = motions.spread_angst2[b]
            share = np.sqrt(volume[row] / volume.sum())
            scale[row, :3, :3] = share * np.real(sqrtm(np.trace(spread) * np.eye(3) - spread))
            scale[row, 3:, 3:] = share * np.eye(3)
        if len(bodies) == 1:
            return cls(bodies, scale, np.eye(6))
        still = np.zeros((1, 3))
        whole = [scale[row] @ _whole(still, still, motions.centre_angst[b])[0] for row, b in enumerate(bodies)]
        return cls(bodies, scale, _signed(null_space(np.concatenate(whole).T)))

    def of_what_is_told(self, evidence: Evidence) -> tuple[Frame, Evidence]:
        """The same without directions of which images say next to nothing, as where a prior held all of them still."""
        mean = evidence.information.mean(0)
        values, axes = np.linalg.eigh(mean)
        told = _signed(axes[:, values > LEAST_TOLD * max(float(values[-1]), 1e-300)])
        information = told.T @ evidence.information @ told
        return replace(self, basis=self.basis @ told), Evidence(information, evidence.score @ told, evidence.uninformed)

    def motion(self, coordinates: Floats) -> Floats:
        """(F, ..., 6) rotation vectors and displacements of coordinates (..., d) inside the molecule."""
        parts = np.split(coordinates @ self.basis.T, len(self.bodies), axis=-1)
        return np.stack([part @ np.linalg.inv(scale).T for part, scale in zip(parts, self.scale, strict=True)])


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
        (F,) share of the images in which nothing but the prior is known of some direction of a body.
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
    whole, nothing = np.zeros((n, size, 6)), np.zeros((n, len(frame.bodies)), dtype=bool)
    views, turned, shifts = _superposed(motions, frame)
    middle = motions.volume_angst3 @ motions.centre_angst / motions.volume_angst3.sum()
    for row, b in enumerate(frame.bodies):
        known, slope, nothing[:, row] = _about_mean(motions, b)
        turn = Rotation.from_matrix(turned[row]).as_rotvec()
        from_vector = np.linalg.inv(_to_vector(turn))
        back = from_vector @ _shown(views) @ np.linalg.inv(frame.scale[row])
        place, at = slice(6 * row, 6 * row + 6), np.concatenate([turn, shifts[row]], 1)
        slope = slope + np.einsum("nij,njk,nk->ni", known, from_vector, at)
        information[:, place, place] = back.swapaxes(1, 2) @ known @ back
        score[:, place] = np.einsum("nij,ni->nj", back, slope)
        moved = np.einsum("nij,ni->nj", views[:, :2], shifts[row])
        whole[:, place] = frame.scale[row] @ _whole(turn, moved, motions.centre_angst[b] - middle)
    if len(frame.bodies) > 1:
        information, score = _free_of(information, score, whole)
    inside = frame.basis.T @ information @ frame.basis
    return Evidence((inside + inside.swapaxes(1, 2)) / 2, score @ frame.basis, nothing.mean(0))


def _about_mean(motions: BodyMotions, b: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Likelihood of a body in each image about the posterior's mean, in right perturbations and seen shifts.

    Returns
    -------
    (n, 5, 5) information, (n, 5) slope at the mean, and (n,) whether some direction has none.
    """
    turn = Rotation.from_matrix(motions.rotations[b]).as_rotvec()
    mean, to_vector = np.concatenate([turn, motions.shift_angst[b]], 1), _to_vector(turn)
    shown = _shown(motions.views)
    covariance = to_vector @ motions.covariance[b] @ to_vector.swapaxes(1, 2)
    of_prior = np.linalg.inv(shown @ motions.prior[motions.half - 1, b] @ shown.swapaxes(1, 2))
    known, score, nothing = without_prior(mean, covariance, of_prior)
    slope = score - np.einsum("nij,nj->ni", known, mean)
    return to_vector.swapaxes(1, 2) @ known @ to_vector, np.einsum("nij,ni->nj", to_vector, slope), nothing


def _superposed(motions: BodyMotions, frame: Frame) -> tuple[Floats, Floats, Floats]:
    """Consensus poses that superpose the bodies as each image has them, so that what is left of the whole is small.

    Returns
    -------
    (n, 3, 3) orientations, and against them (F, n, 3, 3) rotations and (F, n, 2) seen shifts of the bodies.
    """
    bodies = list(frame.bodies)
    rotations, centres = motions.rotations[bodies], motions.centre_angst[bodies]
    if len(bodies) == 1:
        return motions.views, rotations, motions.shift_angst[bodies]
    share = motions.volume_angst3[bodies] / motions.volume_angst3[bodies].sum()
    u, _, v = np.linalg.svd(np.einsum("b,bnij->nij", share, rotations))
    u[:, :, 2] *= np.linalg.det(u @ v)[:, None]
    whole = u @ v
    views = motions.views @ whole
    seen = motions.shift_angst[bodies] + np.einsum("nij,bj->bni", (motions.views - views)[:, :2], centres)
    return views, whole.swapaxes(1, 2) @ rotations, seen - np.einsum("b,bni->ni", share, seen)


def _shown(views: Floats) -> Floats:
    """(n, 5, 6) what images show of (w, t): w, and t across the line of sight."""
    shown = np.zeros((len(views), 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = np.eye(3), views[:, :2]
    return shown


def without_prior(mean: Floats, covariance: Floats, of_prior: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Likelihoods whose products with priors of mean 0 are given posteriors.

    Parameters
    ----------
    mean, covariance
        (n, d) and (n, d, d) of the posteriors.
    of_prior
        (n, d, d) precision of the priors.

    Returns
    -------
    (n, d, d) information and (n, d) score of each likelihood, and (n,) whether some direction has none: there the
    prior makes up more than `PRIOR_ALONE` of the posterior's precision.
    """
    root = np.linalg.cholesky(covariance)
    share, axes = np.linalg.eigh(root.swapaxes(1, 2) @ of_prior @ root)  # of the precision, that of the prior
    inverse = np.linalg.inv(root)
    directions = inverse.swapaxes(1, 2) @ axes
    told = share <= PRIOR_ALONE
    kept = np.where(told, 1 - share, 0.0)
    information = directions * kept[:, None, :] @ directions.swapaxes(1, 2)
    along = np.einsum("nji,nj->ni", axes, np.einsum("nij,nj->ni", inverse, mean)) * told
    return information, np.einsum("nij,nj->ni", directions, along), np.logical_not(told.all(1))


def _to_vector(turn: Floats) -> Floats:
    """(n, 5, 5) change of rotation vectors and seen shifts by right perturbations of the rotations and shifts."""
    change = np.broadcast_to(np.eye(5), (len(turn), 5, 5)).copy()
    change[:, :3, :3] = _vector_change(turn)
    return change


def _vector_change(turn: Floats) -> Floats:
    """(n, 3, 3) derivative by d of log(exp([w]x) exp([d]x)); its transpose is that of log(exp([d]x) exp([w]x)).

    References
    ----------
    Sola, Deray & Atchuthan 2018, eq. 144, arXiv:1812.01537 (inverse right Jacobian of SO(3)).
    """
    angle = np.linalg.norm(turn, axis=1).clip(1e-6)
    cross = _cross(turn)
    factor = 1 / angle**2 - (1 + np.cos(angle)) / (2 * angle * np.sin(angle))
    factor = np.where(angle < 1e-3, 1 / 12, factor)
    return np.eye(3) + cross / 2 + factor[:, None, None] * cross @ cross


def _whole(turn: Floats, shift: Floats, centre: Floats) -> Floats:
    """(n, 6, 6) change of (w, t) of a body when a rotation about the origin and a shift move the whole molecule."""
    change = np.zeros((len(turn), 6, 6))
    change[:, :3, :3] = _vector_change(turn).swapaxes(1, 2)
    change[:, 3:, :3] = -_cross(centre + shift)
    change[:, 3:, 3:] = np.eye(3)
    return change


def _cross(vectors: Floats) -> Floats:
    """(n, 3, 3) matrices [v]x, so that [v]x y = v x y."""
    x, y, z = vectors.T
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)


def _free_of(information: Floats, score: Floats, whole: Floats) -> tuple[Floats, Floats]:
    """Likelihoods with the motion of the whole at its best for each image."""
    across = information @ whole
    own = whole.swapaxes(1, 2) @ across
    scale = np.sqrt(np.diagonal(own, axis1=1, axis2=2).clip(1e-300))
    own = own / (scale[:, :, None] * scale[:, None, :]) + 1e-9 * np.eye(6)  # a shift along the view changes nothing
    across = across / scale[:, None, :]
    taken = np.linalg.solve(own, across.swapaxes(1, 2))
    of_whole = np.einsum("nij,ni->nj", whole, score) / scale
    return information - across @ taken, score - np.einsum("nij,ni->nj", taken, of_whole)


def _signed(basis: Floats) -> Floats:
    """The same basis with its largest entries positive."""
    return basis * np.sign(basis[np.abs(basis).argmax(0), np.arange(basis.shape[1])])
