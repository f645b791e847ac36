"""Principal components of motions, and which of them a rigid molecule with these uncertain poses would not show.

Components are those of the deconvolved covariance. Component k is tested against molecules that move along the first
k - 1 alone: their images are drawn anew, with the uncertainty that each image has. Of each, the direction in which
scores vary most over what their uncertainty explains is taken, as of the images themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from blush.bodies.along import Along
from blush.bodies.evidence import Evidence
from blush.bodies.population import Population, residual

Floats = NDArray[np.float64]
DRAWN = 199
"""Molecules without a component that it is compared with."""
LEVEL = 0.01
"""Share of them that may show as much."""


@dataclass(frozen=True)
class Component:
    """One direction of motion; lengths are rms displacements of the density of all bodies.

    Attributes
    ----------
    direction
        (d,) unit vector of coordinates.
    sd_angst, low_angst, high_angst
        Deconvolved standard deviation, and its 95 % interval with the other components as they are.
    floor_angst
        What 99 of 100 molecules without this component stay below.
    chance
        Share of molecules without it that vary as much over their uncertainty.
    explained
        Share of the deconvolved variance.
    noise_share
        Share of the variance of measured positions that their uncertainty makes up.
    """

    direction: Floats
    sd_angst: float
    low_angst: float
    high_angst: float
    floor_angst: float
    chance: float
    explained: float
    noise_share: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether it is more than noise."""
        return self.chance <= LEVEL


def components_of(evidence: Evidence, population: Population, seed: int) -> list[Component]:
    """Components of a population by falling variance, tested one after the other until one is noise.

    Those after it have its chance and floor at least: what is beneath noise is not tested.
    """
    values, vectors = np.linalg.eigh(population.covariance)
    values, vectors = values[::-1].clip(0), vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(len(values))])
    rng = np.random.default_rng(seed)
    found: list[Component] = []
    chance, floor = 0.0, 0.0
    for k, direction in enumerate(vectors.T):
        if chance <= LEVEL:
            before = vectors[:, :k] * np.sqrt(values[:k])
            left = residual(evidence, Population(population.mean, before @ before.T))
            chance, floor = _chance(left[0] @ vectors[:, k:], vectors[:, k:].T @ left[1] @ vectors[:, k:], rng)
        one = along(evidence, population, direction)
        low, high = np.sqrt(one.interval())
        sd, explained = float(np.sqrt(values[k])), float(values[k] / max(values.sum(), 1e-300))
        noise = one.noise_share(values[k])
        found.append(Component(direction, sd, float(low), float(high), floor, chance, explained, noise))
    return found


def along(evidence: Evidence, population: Population, direction: Floats) -> Along:
    """What images say of their places along a component, with all others as the population has them."""
    root = population.root
    others = root - direction[:, None] * (direction @ root)
    score, information = residual(evidence, Population(population.mean, others @ others.T))
    return Along(score @ direction, np.einsum("i,nij,j->n", direction, information, direction).clip(0))


def _chance(score: Floats, information: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """How often molecules that move as those before vary as much, and the sd in Å that 99 % of them stay below.

    Parameters
    ----------
    score, information
        (n, e) and (n, e, e) in the directions that are left.
    """
    expected = information.sum(0)
    values, axes = np.linalg.eigh(information)
    root = axes * np.sqrt(values.clip(0))[:, None, :]
    seen, _ = _most_varied(score, expected)
    drawn = [_draw(root, expected, information, rng) for _ in range(DRAWN)]
    exceeding = sum(ratio >= seen for ratio, _ in drawn)
    floor = float(np.quantile([variance for _, variance in drawn], 1 - LEVEL))
    return (1 + exceeding) / (1 + DRAWN), float(np.sqrt(max(floor, 0.0)))


def _draw(root: Floats, expected: Floats, information: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Variance over the expected one, and in Å², of one molecule without further motion in its most varied direction.

    The second is one step of Newton from no motion, which is where the best variance of noise lies.
    """
    score = np.einsum("nij,nj->ni", root, rng.standard_normal(root.shape[::2]))
    ratio, direction = _most_varied(score, expected)
    along_it = np.einsum("i,nij,j->n", direction, information, direction)
    excess = (score @ direction) ** 2 - along_it
    return ratio, float(excess.sum() / (along_it**2).sum())


def _most_varied(score: Floats, expected: Floats) -> tuple[float, Floats]:
    """Largest ratio of the variance of scores to the expected one, and the unit direction that has it."""
    ratios, vectors = eigh(score.T @ score, expected)
    best = vectors[:, -1]
    return float(ratios[-1]), best / np.linalg.norm(best)
