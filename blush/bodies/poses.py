"""Poses of the bodies along a component, for maps that show it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blush.bodies.found import MotionsFound
from blush.bodies.motions import BodyMotions
from blush.bodies.placing import Pose

Floats = NDArray[np.float64]


def poses_at(motions: BodyMotions, found: MotionsFound, place_angst: float = 0.0, k: int = 0) -> list[Pose]:
    """The pose of every body, in their order, at a place along component k, counted from 0; 0 Å is the mean.

    Bodies that were not refined stay with the consensus.
    """
    inside = found.frame.inside
    coordinates = inside @ (inside.T @ found.population.mean) + place_angst * found.components[k].direction
    moved = np.zeros((len(motions.names), 6))
    moved[list(found.frame.bodies)] = found.frame.motion(coordinates)
    return [Pose(one[:3], centre + one[3:]) for one, centre in zip(moved, motions.centre_angst, strict=True)]
