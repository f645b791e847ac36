"""One mode or two along a component: does the spread without uncertainty have two tops?

Two Gaussians may fit better than one where the spread has one top that is flat, skew or long in the tails. So two tops
are compared with the best of families that have one. Both are fitted to the evidence of the images, compared on images
that they were not fitted to, and with molecules of one top that are drawn with the images' own uncertainty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blush.bodies.along import Along
from blush.bodies.spreads import ONE_TOP, TWO_TOPS, Pair, Spread, best_spread, log_likelihoods

Floats = NDArray[np.float64]
FOLDS = 5
DRAWN = 39
"""Molecules of one mode that two modes are compared with."""
LEAST_SHARE = 0.05
"""Share of the images below which a top is no mode: strays would be one."""
MOST_IMAGES = 4000
"""Images that are compared; more cost time, and what they show is seen already."""


@dataclass(frozen=True)
class Modes:
    """Spread of the images along a component as one or two Gaussians, from the lowest.

    Attributes
    ----------
    share, mean_angst, sd_angst
        (m,) each.
    gain, gain_error
        Held-out log likelihood per image of two tops over one, and its standard error; None where the best pair of
        Gaussians has one top.
    chance
        Largest chance that one top would be as well fitted by two; 1 where that was not asked.
    """

    share: Floats
    mean_angst: Floats
    sd_angst: Floats
    gain: float | None = None
    gain_error: float | None = None
    chance: float = 1.0

    @property
    def count(self) -> int:
        """Number of modes."""
        return len(self.share)

    def places(self, along: Along) -> tuple[Floats, Floats, Floats]:
        """Where each image is.

        Returns
        -------
        (n,) mean and (n,) standard deviation of each image's place in Å under this spread, and (n, m) probability of
        the modes.
        """
        r, a = along.score[:, None], along.information[:, None]
        variance = self.sd_angst**2
        narrow = 1 + a * variance
        fit = r * self.mean_angst - a * self.mean_angst**2 / 2 - np.log(narrow) / 2 + np.log(self.share)
        fit += variance * (r - a * self.mean_angst) ** 2 / (2 * narrow)
        weight = np.exp(fit - fit.max(1, keepdims=True))
        weight /= weight.sum(1, keepdims=True)
        centre, spread = (self.mean_angst + variance * r) / narrow, variance / narrow
        mean = (weight * centre).sum(1)
        return mean, np.sqrt((weight * (spread + (centre - mean[:, None]) ** 2)).sum(1)), weight


def modes_of(along: Along, seed: int) -> Modes:
    """One or two modes along a component.

    There are two where the best pair of Gaussians has two tops, each with 5 % of the images at least; where it predicts
    images that it was not fitted to better than one top, by more than the standard error; and where none of 39
    molecules of one top is as much better fitted by two.

    References
    ----------
    McLachlan 1987, doi:10.2307/2347790 (likelihood ratio of mixtures by parametric bootstrap).
    """
    scale = float(np.sqrt(along.best_variance()))
    one = (np.ones(1), np.zeros(1), np.array([scale]))
    if scale == 0:
        return Modes(*one)
    part = along.take(np.arange(0, len(along.score), -(-len(along.score) // MOST_IMAGES)))
    unit = Along(part.score * scale, part.information * scale**2)
    two, of_two = best_spread(unit, TWO_TOPS)
    if not isinstance(two, Pair) or not two.has_two_tops(LEAST_SHARE):
        return Modes(*one)
    flat, of_flat = best_spread(unit, ONE_TOP)
    gain, error = _held_out(unit, flat, two)
    if gain <= error:
        return Modes(*one, gain, error)
    chance = _chance(unit, flat, two, of_two - of_flat, np.random.default_rng(seed))
    if chance > 1 / (1 + DRAWN):
        return Modes(*one, gain, error, chance)
    share, mean, sd = two.gaussians()
    return Modes(share, mean * scale, sd * scale, gain, error, chance)


def _held_out(along: Along, flat: Spread, two: Spread) -> tuple[float, float]:
    """Mean and standard error, per image, of the log likelihood of two tops less one in images not fitted to."""
    fold = np.arange(len(along.score)) % FOLDS
    gains = np.zeros(len(fold))
    for k in range(FOLDS):
        inside, outside = (along.take(np.flatnonzero(rows)) for rows in (fold != k, fold == k))
        better, worse = (log_likelihoods(outside, best_spread(inside, (one,))[0]) for one in (two, flat))
        gains[fold == k] = better - worse
    return float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(len(gains)))


def _chance(along: Along, flat: Spread, two: Spread, gain: float, rng: np.random.Generator) -> float:
    """Chance that two tops gain as much of a molecule of one; drawing ends with the first that does."""
    for drawn in range(1, 1 + DRAWN):
        place = flat.draw(rng, len(along.score))
        noise = np.sqrt(along.information) * rng.standard_normal(len(place))
        unreal = Along(along.information * place + noise, along.information)
        _, of_flat = best_spread(unreal, (flat,))
        _, of_two = best_spread(unreal, (two, TWO_TOPS[0]))
        if of_two - of_flat >= gain:
            return 2 / (1 + drawn)
    return 1 / (1 + DRAWN)
