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
from blush.bodies.evidence import Evidence, Frame
from blush.bodies.population import Population, residual
from blush.errors import BlushError, Problem

Floats = NDArray[np.float64]
DRAWN = 199
"""Molecules without a component that it is compared with."""
LEVEL = 0.01
"""Share of them that may show as much."""
LEAST_MARGIN = 1.5
"""How many times as wide uncertainty may be without a component becoming noise: that of refinements is too narrow."""
LEAST_TOLD = 1e-3
"""Information of images on a direction, over that on the best known one, below which they say nothing of it."""


@dataclass(frozen=True)
class Component:
    """One direction of motion; lengths are rms displacements of the density of all bodies.

    Attributes
    ----------
    direction
        (6 F,) unit vector of coordinates.
    sd_angst, low_angst, high_angst
        Deconvolved standard deviation, and its 95 % interval with the other components as they are.
    floor_angst
        What 99 of 100 molecules without this component stay below.
    chance
        Share of molecules without it that vary as much over their uncertainty.
    margin
        How many times as wide the uncertainty of all images would have to be for this component to be noise; 1 where it
        is noise as it is.
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
    margin: float
    explained: float
    noise_share: float

    @property
    def is_beyond_noise(self) -> bool:
        """Whether it is more than noise, and would be if poses were somewhat more uncertain than they say."""
        return self.chance <= LEVEL and self.margin >= LEAST_MARGIN

    @property
    def is_doubtful(self) -> bool:
        """Whether it is more than noise only if poses are as certain as they say."""
        return self.chance <= LEVEL and self.margin < LEAST_MARGIN


def components_of(evidence: Evidence, population: Population, frame: Frame, seed: int) -> list[Component]:
    """Components of the motions inside the molecule by falling variance, tested one after the other until one is noise.

    Those after it have its floor and are noise: what is beneath it is not tested. Directions of which images say next
    to nothing, as where the prior of a refinement held bodies still, are left out.
    """
    told = _told(evidence, population, frame)
    values, axes = np.linalg.eigh(told.T @ population.covariance @ told)
    values, vectors = values[::-1].clip(0), told @ axes[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(len(values))])
    rng = np.random.default_rng(seed)
    found: list[Component] = []
    chance, floor, margin = 1.0, 0.0, 1.0
    for k, direction in enumerate(vectors.T):
        if not found or found[-1].is_beyond_noise:
            rest = vectors[:, k:]
            score, information = residual(evidence, _without(population, rest))
            chance, floor, margin = _chance(score @ rest, rest.T @ information @ rest, rng)
        elif found[-1].is_doubtful:
            chance, margin = 1.0, 1.0
        one = along(evidence, population, direction)
        low, high = np.sqrt(one.interval())
        sd, explained = float(np.sqrt(values[k])), float(values[k] / max(values.sum(), 1e-300))
        noise = one.noise_share(values[k])
        found.append(Component(direction, sd, float(low), float(high), floor, chance, margin, explained, noise))
    return found


def _told(evidence: Evidence, population: Population, frame: Frame) -> Floats:
    """(6 F, e) orthonormal: directions inside the molecule of which images say something.

    Raises
    ------
    BlushError
        There is none.
    """
    _, information = residual(evidence, _without(population, frame.inside))
    values, axes = np.linalg.eigh(frame.inside.T @ information.mean(0) @ frame.inside)
    if values[-1] <= 0:
        remedy = "look at whether bodies are aligned at all, and at the widths of their priors"
        problem = Problem(
            "say nothing beyond the priors of their motions", remedy, value=f"{len(evidence.score)} images"
        )
        raise BlushError("motions cannot be told", [problem])
    return frame.inside @ axes[:, values > LEAST_TOLD * values[-1]]


def _without(population: Population, directions: Floats) -> Population:
    """The population without motion along some orthonormal directions."""
    root = population.root
    root = root - directions @ (directions.T @ root)
    return Population(population.mean, root @ root.T)


def along(evidence: Evidence, population: Population, direction: Floats) -> Along:
    """What images say of their places along a component.

    A place z along it is one of x = u z + y, where u = S d / d.S d is how all else follows it, as the motion of the
    whole may, and y is independent of z.
    """
    covariance = population.covariance
    variance = direction @ covariance @ direction
    if variance <= 0:
        follows, rest = direction, _without(population, direction[:, None])
    else:
        follows = covariance @ direction / variance
        rest = Population(population.mean, covariance - variance * np.outer(follows, follows))
    score, information = residual(evidence, rest)
    return Along(score @ follows, np.einsum("i,nij,j->n", follows, information, follows).clip(0))


def _chance(score: Floats, information: Floats, rng: np.random.Generator) -> tuple[float, float, float]:
    """How often molecules that move as those before vary as much, the sd in Å that 99 % stay below, and the margin.

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
    ratio, floor = (float(np.quantile(one, 1 - LEVEL)) for one in zip(*drawn, strict=True))
    margin = max(1.0, float(np.sqrt(seen / ratio)))
    return (1 + exceeding) / (1 + DRAWN), float(np.sqrt(floor)), margin


def _draw(root: Floats, expected: Floats, information: Floats, rng: np.random.Generator) -> tuple[float, float]:
    """Variance over the expected one, and in Å², of a molecule without further motion in its most varied direction."""
    score = np.einsum("nij,nj->ni", root, rng.standard_normal(root.shape[::2]))
    ratio, direction = _most_varied(score, expected)
    told = Along(score @ direction, np.einsum("i,nij,j->n", direction, information, direction).clip(0))
    return ratio, told.best_variance()


def _most_varied(score: Floats, expected: Floats) -> tuple[float, Floats]:
    """Largest ratio of the variance of scores to the expected one, and the unit direction that has it."""
    ratios, vectors = eigh(score.T @ score, expected)
    best = vectors[:, -1]
    return float(ratios[-1]), best / np.linalg.norm(best)
