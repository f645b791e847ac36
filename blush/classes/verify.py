"""Are the classes real? Halves of the images are divided independently, and each is put to the maps of the other."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from blush.classes.differences import differences
from blush.classes.given_poses import ClassSettings, Division
from blush.classes.halves import HeldOut, Progress, divide_halves
from blush.classes.merging import mean_of, supported
from blush.classes.verified import Agreement, ClassFound, Verified
from blush.io.copies import first_rows
from blush.io.particles import ParticleSet
from blush.validate.partitions import (
    adjusted_rand,
    beyond_chance,
    by_chance,
    contingency,
    matched,
    resampled,
)

Labels = NDArray[np.int64]
DRAWS = 1000
CHANCE_QUANTILE = 0.99


def verify_classes(
    particles: ParticleSet,
    labels: Labels,
    settings: ClassSettings,
    mask: Tensor,
    together: Labels | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> Verified:
    """Divide two halves of the images independently, and label each half's images by the maps of the other half.

    Parameters
    ----------
    particles
        With poses, which stay.
    labels
        (n,) classes that the images were given elsewhere, any whole numbers; their agreement is told.
    mask
        (N, N, N) solvent mask in 0 .. 1.
    together
        (n,) number of each row's group, whose rows stay in one half and one fold; None: rows of one image.
    progress
        Takes what is being done, images done, and their number.

    Raises
    ------
    BlushError
        Where the images leave no noise.
    """
    together = first_rows(particles) if together is None else together
    halves = divide_halves(particles, together, settings, mask, progress)
    held = HeldOut(halves, settings, progress)
    groups = together[held.rows]
    k = settings.n_classes
    foreign, (first, second) = held.labels, held.labels_by_half
    agreement = agreement_of(first, second, (k, k), groups, settings.seed)
    gain = held.gain(held.singles)
    n_first = len(held.halves[0].rows)
    by_half = [mean_of(part, g) for part, g in zip(*(np.split(x, [n_first]) for x in (gain, groups)), strict=True)]
    left, costs = supported(k, held.gain, groups, held.prepare)
    evidence = _evidence(particles, together, settings, mask, progress)
    known, given = np.unique(labels[held.rows], return_inverse=True)
    with_given = contingency(foreign, given.reshape(-1), k, len(known))
    table = contingency(first, second, k, k)
    return Verified(
        n_images=len(particles),
        n_classes=k,
        temperature=held.temperature,
        resolution_angst=_resolution(particles, [half.divided.radius for half in held.halves]),
        agreement=agreement,
        gain=mean_of(gain, groups),
        gain_by_half=by_half,
        gain_supported=mean_of(held.gain(left), groups),
        evidence=evidence,
        supported=left,
        costs=costs,
        classes=_classes(held, table, [int(n) for n in known], matched(with_given)),
        differences=differences(held.halves),
        given=agreement_of(given.reshape(-1), foreign, (len(known), k), groups, settings.seed),
        rows=held.rows,
        labels=foreign,
        posterior=held.posterior,
    )


def _evidence(
    particles: ParticleSet, together: Labels, settings: ClassSettings, mask: Tensor, progress: Progress
) -> list[float]:
    """Evidence for 2, 3, ... classes of all images, one of each group: others share its noise."""
    rows = np.unique(together, return_index=True)[1]
    work = Division(particles.take(np.sort(rows)), np.arange(len(rows)), settings, mask)
    return work.evidence(partial(progress, "all images"))


def agreement_of(first: Labels, second: Labels, shape: tuple[int, int], together: Labels, seed: int) -> Agreement:
    """Adjusted Rand index of two divisions with its bootstrap interval of 95 %, and what chance gives.

    Where one of them has all images in one class, there is nothing to agree on, and all are 0.
    """
    table = contingency(first, second, *shape)
    if min(np.count_nonzero(table.sum(axis)) for axis in (0, 1)) < 2:
        return Agreement(0.0, 0.0, 0.0, 0.0)
    groups, index = np.unique(together, return_inverse=True)
    drawn = resampled(first, second, shape, None if len(groups) == len(together) else index.reshape(-1), DRAWS, seed)
    low, high = np.quantile(drawn, (0.025, 0.975))
    chance = float(np.quantile(by_chance(table, DRAWS, seed), CHANCE_QUANTILE))
    return Agreement(float(adjusted_rand(table)), float(low), float(high), chance)


def _classes(held: HeldOut, table: Labels, known: list[int], partner: Labels) -> list[ClassFound]:
    """Every class: how many images it holds in each half, and how well the other half's maps find it."""
    kappa = beyond_chance(table)
    shares = [half.divided.share for half in held.halves]
    return [
        ClassFound(
            share=(float(shares[0][k]), float(shares[1][k])),
            reproduced=float(kappa[k]),
            given=known[partner[k]] if partner[k] >= 0 else None,
        )
        for k in range(len(table))
    ]


def _resolution(particles: ParticleSet, radii: list[int]) -> float:
    """Finest resolution at which images were compared, in Å."""
    optics = particles.optics[0]
    return optics.box_px * optics.pixel_size_angst / max(radii)
