"""Mean and covariance of motions of all images, without the uncertainty of each: extreme deconvolution.

Image i has the log likelihood x.h - x.K x / 2 of its coordinates x, and x ~ N(m, S) over the images. EM alone needs
thousands of steps where S is small (its steps shrink as the cube of S where nothing moves), so it begins the search,
and L-BFGS ends it on the same likelihood, in a root L of S = L L^T: S stays a covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from blush.bodies.evidence import Evidence

Floats = NDArray[np.float64]
_EM_STEPS, _STEPS = 20, 400


@dataclass(frozen=True)
class Population:
    """Mean (d,) and covariance (d, d) of coordinates."""

    mean: Floats
    covariance: Floats

    @property
    def root(self) -> Floats:
        """L with S = L L^T."""
        values, vectors = np.linalg.eigh(self.covariance)
        return vectors * np.sqrt(values.clip(0))


def fit_population(evidence: Evidence, start: Floats) -> Population:
    """The population under which images are most probable.

    Parameters
    ----------
    start
        (d, d) covariance to begin with; it stays what it is along directions of which no image says anything.

    References
    ----------
    Bovy, Hogg & Roweis 2011, doi:10.1214/10-AOAS439.
    """
    size = evidence.score.shape[1]
    found = Population(np.zeros(size), start)
    for _ in range(_EM_STEPS):
        found = _em_step(evidence, found)

    def lacking(values: Floats) -> tuple[float, Floats]:
        log_likelihood, of_mean, of_root = _likelihood(evidence, values[:size], values[size:].reshape(size, size))
        n = len(evidence.score)
        return -log_likelihood / n, -np.concatenate([of_mean, of_root.ravel()]) / n

    first = np.concatenate([found.mean, found.root.ravel()])
    best = minimize(
        lacking, first, jac=True, method="L-BFGS-B", options={"maxiter": _STEPS, "ftol": 1e-12, "gtol": 1e-8}
    )
    root = best.x[size:].reshape(size, size)
    return Population(best.x[:size], root @ root.T)


def residual(evidence: Evidence, population: Population) -> tuple[Floats, Floats]:
    """What is left of the images' evidence for one who knows the population.

    Returns
    -------
    (n, d) score and (n, d, d) information of a further displacement of each image, marginal over the population:
    the covariance of the score is the information where the population is right.
    """
    root, score = population.root, evidence.score - evidence.information @ population.mean
    seen = evidence.information @ root
    inner = root.T @ seen + np.eye(root.shape[1])
    solved = np.linalg.solve(inner, seen.swapaxes(1, 2))
    left = score - np.einsum("nij,nj->ni", solved.swapaxes(1, 2), score @ root)
    return left, evidence.information - seen @ solved


def _em_step(evidence: Evidence, population: Population) -> Population:
    """One step of EM."""
    means, covariances = posteriors(evidence, population)
    mean = means.mean(0)
    spread = means - mean
    return Population(mean, spread.T @ spread / len(means) + covariances.mean(0))


def posteriors(evidence: Evidence, population: Population) -> tuple[Floats, Floats]:
    """Means (n, d) and covariances (n, d, d) of the images' coordinates under the population."""
    root, score = population.root, evidence.score - evidence.information @ population.mean
    inner = root.T @ evidence.information @ root + np.eye(root.shape[1])
    solved = np.linalg.inv(inner)
    covariances = root @ solved @ root.T
    return population.mean + np.einsum("nij,nj->ni", covariances, score), covariances


def _likelihood(evidence: Evidence, mean: Floats, root: Floats) -> tuple[float, Floats, Floats]:
    """Log likelihood of all images but for a constant, and its derivatives by the mean and the root."""
    information, size = evidence.information, len(mean)
    through = information @ mean
    score = evidence.score - through
    seen = information @ root
    inner = root.T @ seen + np.eye(size)
    told = score @ root
    solved = np.linalg.solve(inner, np.concatenate([told[:, :, None], seen.swapaxes(1, 2)], 2))
    weight, taken = solved[:, :, 0], solved[:, :, 1:]
    fit = (evidence.score - through / 2) @ mean + (told * weight).sum(1) / 2
    log_likelihood = float((fit - np.linalg.slogdet(inner)[1] / 2).sum())
    left = score - np.einsum("nij,nj->ni", seen, weight)
    excess = left.T @ left - (information - seen @ taken).sum(0)
    return log_likelihood, left.sum(0), excess @ root
