"""From the record of motions to what moved: every step of it, for all images."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from blush.bodies.along import Along, density, measured
from blush.bodies.components import Component, along, components_of
from blush.bodies.evidence import Frame, evidence_of
from blush.bodies.found import MotionsFound, Moving, Turn
from blush.bodies.modes import modes_of
from blush.bodies.motions import BodyMotions
from blush.bodies.population import Population, fit_population
from blush.errors import BlushError, Problem

Floats = NDArray[np.float64]
MOST_FITTED = 10_000
"""Images that the population is fitted to, evenly over the record; all get their places."""
FEWEST_PER_NUMBER = 10
"""Images per coordinate that a covariance takes."""
BINS = 61
REACH = 3.5
"""Standard deviations to which histograms go."""
_AT_ONCE = 20_000


def analyse(motions: BodyMotions, seed: int) -> MotionsFound:
    """Find what moved.

    Parameters
    ----------
    seed
        That of the molecules that are drawn for comparison.

    Raises
    ------
    BlushError
        There are too few images.
    """
    frame = Frame.of(motions)
    size = frame.inside.shape[1]
    if motions.n_images < FEWEST_PER_NUMBER * size:
        least = f"{FEWEST_PER_NUMBER * size} are needed for {len(frame.bodies)} bodies"
        problem = Problem("are too few images for a covariance", least, value=str(motions.n_images))
        raise BlushError("motions cannot be told", [problem])
    rows = np.arange(0, motions.n_images, -(-motions.n_images // MOST_FITTED))
    evidence = evidence_of(motions.take(rows), frame)
    start = frame.covariance_of(motions.prior[:, list(frame.bodies)].mean(0))
    population = fit_population(evidence, start)
    components = components_of(evidence, population, frame, seed)
    beyond = [one for one in components if one.is_beyond_noise] or components[:1]
    places = _all_along(motions, frame, population, beyond)
    moving = [_moving(one, told, motions, frame, seed) for one, told in zip(beyond, places, strict=True)]
    still = size - len(components)
    return MotionsFound(
        motions.names, frame, motions.n_images, population, components, moving, evidence.uninformed, still
    )


def _all_along(motions: BodyMotions, frame: Frame, population: Population, components: list[Component]) -> list[Along]:
    """What every image says along components."""
    parts = []
    for start in range(0, motions.n_images, _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, motions.n_images))
        evidence = evidence_of(motions.take(rows), frame)
        parts.append([along(evidence, population, one.direction) for one in components])
    return [
        Along(*(np.concatenate([getattr(part[k], name) for part in parts]) for name in ("score", "information")))
        for k in range(len(components))
    ]


def _moving(one: Component, told: Along, motions: BodyMotions, frame: Frame, seed: int) -> Moving:
    """A component with its modes and the places of all images."""
    modes = modes_of(told, seed)
    place, error, mode = modes.places(told)
    bins = np.linspace(-REACH, REACH, BINS) * max(one.sd_angst, 1e-6)
    part = told.take(np.arange(0, len(place), -(-len(place) // MOST_FITTED)))
    halves = [told.take(np.flatnonzero(motions.half == half)) for half in (1, 2)]
    first, second = (float(np.sqrt(half.best_variance())) for half in halves)
    names = [motions.names[b] for b in frame.bodies]
    moved = frame.motion(one.direction * one.sd_angst)
    own = frame.scale / frame.scale[:, 3:4, 3:4]  # without the share of the volume: Å over the body's own mask
    rms = np.linalg.norm(np.einsum("fij,fj->fi", own, moved), axis=1)
    turn_deg = np.rad2deg(np.linalg.norm(moved[:, :3], axis=1))
    turns = tuple(Turn(*values) for values in zip(names, turn_deg.tolist(), rms.tolist(), strict=True))
    return Moving(
        one,
        modes,
        turns,
        _most_turned(moved, names),
        (first, second),
        place,
        error,
        mode,
        bins,
        density(part, bins),
        measured(part, bins),
    )


def _most_turned(moved: Floats, names: list[str]) -> tuple[str, str, float] | None:
    """The two bodies that turn most against each other, the one that moves more first, and by how many degrees."""
    if len(names) == 1:
        return None
    turn = {
        pair: float(np.linalg.norm(np.subtract(*moved[list(pair), :3]))) for pair in combinations(range(len(names)), 2)
    }
    pair = max(turn, key=lambda each: turn[each])
    first, second = sorted(pair, key=lambda b: -float(np.linalg.norm(moved[b, :3])))
    return names[first], names[second], float(np.rad2deg(turn[pair]))
