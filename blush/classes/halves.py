"""Two halves of the images, divided into classes independently, and what either's maps say of the other's images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from torch import Tensor

from blush.classes.given_poses import (
    LEAST_SHARE,
    ClassSettings,
    Divided,
    Division,
    expectation_of,
    in_parts,
    model_of,
)
from blush.io.particles import ParticleSet
from blush.validate.partitions import contingency, matched

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
Members = frozenset[int]
"""Classes that are one."""
MAPS_AT_ONCE = 8
"""Maps that images are compared with in one pass: their transforms lie in memory side by side."""


@dataclass
class Half:
    """One half of the images with the classes that it was divided into by itself.

    Attributes
    ----------
    rows
        Ascending rows of these images.
    """

    rows: Labels
    particles: ParticleSet
    divided: Divided

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.divided.maps)

    def renumbered(self, order: Labels) -> Half:
        """The same with class `order[k]` as class k."""
        own = self.divided
        maps = [own.maps[k] for k in order]
        return replace(self, divided=replace(own, posterior=own.posterior[:, order], share=own.share[order], maps=maps))

    def share(self, members: Members) -> float:
        """Fraction of the images in these classes."""
        return max(float(self.divided.share[list(members)].sum()), LEAST_SHARE)

    def map(self, members: Members) -> Tensor:
        """(N, N, N) mean of the maps of classes, weighted by their images."""
        weights = [max(float(self.divided.share[k]), LEAST_SHARE) for k in sorted(members)]
        maps = [self.divided.maps[k] * (w / sum(weights)) for k, w in zip(sorted(members), weights, strict=True)]
        return torch.stack(maps).sum(0)


def divide_halves(
    particles: ParticleSet, together: Labels, settings: ClassSettings, mask: Tensor, progress: Progress
) -> tuple[Half, Half]:
    """Draw halves, and divide each into classes with a seed of its own: nothing of either is known to the other.

    Parameters
    ----------
    together
        (n,) number of each row's group, whose rows stay in one half.
    """
    part = in_parts(together, 2, np.random.default_rng(settings.seed))
    halves = []
    for h in (0, 1):
        rows = np.flatnonzero(part == h)
        own = replace(settings, seed=2 * settings.seed + h + 1)
        images = particles.take(rows)
        work = Division(images, together[rows], own, mask)
        told = work.run(partial(progress, f"half {h + 1}"))
        halves.append(Half(rows, images, told))
    return halves[0], halves[1]


class HeldOut:
    """What the maps of each half say of the images of the other.

    Rows are the images of half 1, then those of half 2.
    """

    def __init__(self, halves: tuple[Half, Half], settings: ClassSettings, progress: Progress) -> None:
        self.halves, self.settings, self.progress = halves, settings, progress
        self.temperature = settings.temperature_of(halves[0].particles)
        self.rows = np.concatenate([half.rows for half in halves])
        self.known: dict[Members, Floats] = {}
        self.all = frozenset(range(settings.n_classes))
        self.singles = [frozenset([k]) for k in range(settings.n_classes)]
        self._match()

    def _match(self) -> None:
        """Give classes of half 2 the numbers of those of half 1 that they agree with best."""
        self.prepare([self.all, *self.singles])
        own, others = self.labels_by_half
        table = contingency(own, others, len(self.singles), len(self.singles))
        partner = matched(table)
        self.halves = (self.halves[0], self.halves[1].renumbered(partner))
        n_first = len(self.halves[0].rows)
        columns = np.stack([self.known[single] for single in self.singles], 1)
        columns[:n_first] = columns[:n_first, partner]  # half 2's maps
        self.known |= dict(zip(self.singles, columns.T, strict=True))

    @property
    def labels_by_half(self) -> tuple[Labels, Labels]:
        """(n,) class of each image by the maps of half 1, and of half 2: one of them is its own half's.

        Each is one division of all images. Labels by maps of the image's own half, and by those of the other, are two
        each: where one half has even classes and the other a large one, they disagree by that alone.
        """
        one, two = self.halves
        n_first, foreign = len(one.rows), self.labels
        by_first = np.concatenate([one.divided.labels, foreign[n_first:]])
        by_second = np.concatenate([foreign[:n_first], two.divided.labels])
        return by_first, by_second

    @property
    def posterior(self) -> Floats:
        """(n, K) of each image by the other half's maps."""
        log = self._log_posterior(self.singles)
        return np.exp(log - logsumexp(log, axis=1, keepdims=True))

    @property
    def labels(self) -> Labels:
        """(n,) most probable class of each image by the other half's maps."""
        return self._log_posterior(self.singles).argmax(1)

    def gain(self, classes: Sequence[Members]) -> Floats:
        """(n,) log likelihood of each image by the other half's maps of some classes, over that by their mean."""
        self.prepare(classes)
        return logsumexp(self._log_posterior(classes), axis=1)

    def _log_posterior(self, classes: Sequence[Members]) -> Floats:
        """Log of share times tempered likelihood over the mean's: (n, classes)."""
        found = np.stack([(self.known[one] - self.known[self.all]) / self.temperature for one in classes], 1)
        n_first = len(self.halves[0].rows)
        share = [np.log([half.share(one) for one in classes]) for half in self.halves]
        found[:n_first] += share[1]
        found[n_first:] += share[0]
        return found

    def prepare(self, classes: Sequence[Members]) -> None:
        """Compare all images with those of these maps that they have not been compared with."""
        missing = [one for one in dict.fromkeys(classes) if one not in self.known]
        for begin in range(0, len(missing), MAPS_AT_ONCE):
            some = missing[begin : begin + MAPS_AT_ONCE]
            parts = [self._compare(self.halves[h], self.halves[1 - h], some) for h in (0, 1)]
            self.known |= dict(zip(some, np.concatenate(parts).T, strict=True))

    def _compare(self, half: Half, other: Half, classes: Sequence[Members]) -> Floats:
        """(images of one half, classes) log likelihoods by maps of the other."""
        maps = [other.map(one) for one in classes]
        noise, radius = half.divided.noise, other.divided.radius
        model = model_of(half.particles, maps, noise, radius, self.settings)
        n = len(half.rows)
        step = expectation_of(model, half.particles, self.settings)
        return step.log_likelihoods(half.particles, lambda done: self.progress("other half", done, n)).numpy()
