"""The first maps of classes: from what every image has of the parts of the mean map (`blush.maximization.parts`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from blush.expectation.parts import part_overlaps
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.io.particles import ParticleSet
from blush.maximization.parts import Occupancies, divide_into_parts, fit_occupancies

MOST_PARTS, FEWEST_PARTS, IMAGES_PER_PART = 32, 4, 30
MOST_IMAGES = 20_000
"""Images from which occupancies are estimated; the others join in the next expectation step."""
LARGEST_RADIUS = 40
"""Shells that are compared at most: parts are compact, not detailed."""
STARTS = 8
EDGE_PX = 1.5
"""Standard deviation of the edge of a part, in pixels of the images."""


@dataclass(frozen=True)
class FirstClasses:
    """Weights of the parts, (parts, N, N, N), and their occupancies in every class."""

    parts: Tensor
    occupancies: Occupancies

    @property
    def fields(self) -> list[Tensor]:
        """(N, N, N) of every class: by what the mean map is multiplied to give the class."""
        shape = (-1, 1, 1, 1)
        return [(one.to(self.parts).view(shape) * self.parts).sum(0) for one in self.occupancies.occupancy]


def first_classes(
    step: Expectation, particles: ParticleSet, mean: Tensor, mask: Tensor, n_classes: int, temperature: float, seed: int
) -> FirstClasses:
    """Divide a mean map into parts and find the classes that explain what the images have of them.

    Parameters
    ----------
    step
        Made for a model with given poses, whose noise, CTFs, masks and image size are used.
    particles
        At most `MOST_IMAGES`, posed.
    mean, mask
        (N, N, N), or of fewer, larger voxels over the same extent.
    temperature
        What the log likelihood is divided by.
    """
    count = int(np.clip(len(particles) // IMAGES_PER_PART, FEWEST_PARTS, MOST_PARTS))
    box_px = step.model.box_px
    parts = divide_into_parts(mean, mask, count, seed, EDGE_PX * len(mean) / box_px)
    spheres = [transform(mean * weight, step.model.radius, box_px=box_px) for weight in parts]
    overlap, gram = part_overlaps(step, particles, spheres)
    found = fit_occupancies(overlap / temperature, gram / temperature, n_classes, seed, STARTS)
    return FirstClasses(parts, found)
