"""Which species each particle of a mixture is, and which images are junk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blush.simulate.acquisition import species_generator
from blush.simulate.mixture_settings import JUNK_KINDS
from blush.simulate.settings import SimulateConfig

Integers = NDArray[np.int64]
SOUND = -1
"""Kind of an image that is not junk."""


@dataclass(frozen=True)
class Assignment:
    """What each image shows; equal-length arrays.

    Attributes
    ----------
    species
        (n,) number from 0; of junk, the one that is broken or off centre.
    junk
        (n,) place in `JUNK_KINDS`, or `SOUND`.
    turn
        (n,) float64 in [0, 1), which of several states of a species it is.
    """

    species: Integers
    junk: Integers
    turn: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.species)

    def take(self, rows: slice) -> "Assignment":
        """Some of the particles."""
        return Assignment(self.species[rows], self.junk[rows], self.turn[rows])


def assign(settings: SimulateConfig, fractions: Sequence[float]) -> Assignment:
    """Say what every image of a set shows.

    Parameters
    ----------
    fractions
        Share of each species among the images that are not junk.
    """
    count = settings.imaging.n_particles
    if settings.counts == "exact":
        return _exact(settings, np.array(fractions), count)
    per_micrograph = settings.imaging.particles_per_micrograph
    parts = [
        _drawn(settings, np.array(fractions), per_micrograph, species_generator(settings.seed, number))
        for number in range(-(-count // per_micrograph))
    ]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Assignment.__dataclass_fields__]
    return Assignment(*joined).take(slice(0, count))


def largest_remainder(fractions: NDArray[np.float64], count: int) -> Integers:
    """Whole numbers in proportion to fractions that add up to 1; ties go to the first."""
    wanted = fractions / fractions.sum() * count
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    order = np.argsort(-(wanted - whole), kind="stable")
    whole[order[: count - whole.sum()]] += 1
    return whole


def _exact(settings: SimulateConfig, fractions: NDArray[np.float64], count: int) -> Assignment:
    """Counts by largest remainder, in random order."""
    generator = species_generator(settings.seed)
    shares = np.array([1 - settings.junk.share, *settings.junk.shares])
    kinds = np.arange(SOUND, len(JUNK_KINDS))
    junk = generator.permutation(np.repeat(kinds, largest_remainder(shares.clip(min=0), count)))
    species = generator.choice(len(fractions), count, p=fractions / fractions.sum())
    sound = junk == SOUND
    counts = largest_remainder(fractions, int(sound.sum()))
    species[sound] = generator.permutation(np.repeat(np.arange(len(fractions)), counts))
    return Assignment(species, junk, generator.uniform(size=count))


def _drawn(
    settings: SimulateConfig, fractions: NDArray[np.float64], count: int, generator: np.random.Generator
) -> Assignment:
    """Every image drawn for itself."""
    kind, which, turn = generator.uniform(size=(3, count))
    shares = np.array([1 - settings.junk.share, *settings.junk.shares]).clip(min=0)
    junk = _place(shares, kind) + SOUND
    return Assignment(_place(fractions, which), junk, turn)


def _place(shares: NDArray[np.float64], at: NDArray[np.float64]) -> Integers:
    """Which of several shares holds each number in [0, 1)."""
    ends = np.cumsum(shares) / shares.sum()
    last = int(np.flatnonzero(shares)[-1])
    return np.minimum(np.searchsorted(ends, at, side="right"), last).astype(np.int64)
