"""The first maps of classes: from what every image has of the parts of the mean map (`blush.maximization.parts`)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.expectation.parts import part_overlaps
from blush.expectation.shard import Expectation
from blush.fourier.filter import gaussian, resize_volume
from blush.fourier.transform import sphere_radius, transform
from blush.io.particles import ParticleSet
from blush.maximization.cells import map_size
from blush.maximization.occupancies import Occupancies, fit_occupancies
from blush.maximization.parts import divide_into_parts

MOST_PARTS, FEWEST_PARTS, IMAGES_PER_PART = 128, 4, 4
"""Parts that a map is divided into: as many as there may be, since those that say nothing fall out."""
MOST_IMAGES = 20_000
"""Images from which occupancies are estimated; the others join in the next expectation step."""
MOST_PRODUCTS = 12_000_000
"""Products of two parts, of all images: more images are compared with fewer parts."""
MOST_TRANSFORM_BYTES = 1_200_000_000
"""Of the parts' transforms: finer maps are divided into fewer parts."""
LARGEST_RADIUS = 40
"""Shells that are compared at most: parts are compact, not detailed."""
STARTS = 6
LEAST_INTEREST, INTEREST_WIDTH = 0.03, 2.0
"""What density counts by where classes do not differ, and over which width, in edges of a part, they do so."""
EDGE_PX = 1.5
"""Standard deviation of the edge of a part, in pixels of the images."""


@dataclass(frozen=True)
class FirstClasses:
    """Weights of the parts, (parts, M, M, M), and their occupancies in every class."""

    parts: Tensor
    occupancies: Occupancies

    def fields(self, map_px: int) -> list[Tensor]:
        """(map_px, map_px, map_px) of every class: by what the mean map is multiplied to give the class."""
        found = [torch.einsum("b,bzyx->zyx", one.to(self.parts), self.parts) for one in self.occupancies.occupancy]
        return [resized(one, map_px) for one in found]

    def interest(self, width_px: float) -> Tensor:
        """(N, N, N) up to about 1: how much the classes differ at a place."""
        fields, share = (
            torch.stack(self.fields(len(self.parts[0]))),
            self.occupancies.share.to(self.parts).view(-1, 1, 1, 1),
        )
        mean = (share * fields).sum(0)
        smooth = gaussian((share * (fields - mean).square()).sum(0).sqrt(), width_px)
        return smooth / smooth.max() + LEAST_INTEREST


def resized(volume: Tensor, map_px: int) -> Tensor:
    """A map with as many voxels along, over the same extent."""
    n = len(volume)
    return volume if n == map_px else resize_volume(volume, map_px / n, map_px, 1.0)


def parts_of(images: int, radius: int) -> int:
    """Into how many parts a map is divided that so many images are compared with up to a shell."""
    held = math.isqrt(2 * MOST_PRODUCTS // max(images, 1))
    transformed = MOST_TRANSFORM_BYTES // transform_bytes(radius)
    return int(np.clip(images // IMAGES_PER_PART, FEWEST_PARTS, min(held, transformed, MOST_PARTS)))


def transform_bytes(radius: int) -> int:
    """Bytes of the transform of one part."""
    wide = sphere_radius(radius)
    return 8 * (2 * wide + 1) ** 2 * (wide + 1)


def memory_of_parts(images: int, radius: int) -> int:
    """Bytes that the first classes of so many images take: transforms of parts, and three times their products."""
    some, within = min(images, MOST_IMAGES), min(radius, LARGEST_RADIUS)
    parts = parts_of(some, within)
    return parts * transform_bytes(within) + 12 * some * parts * (parts + 1)


def first_classes(
    step: Expectation, particles: ParticleSet, mean: Tensor, mask: Tensor, n_classes: int, temperature: float, seed: int
) -> FirstClasses:
    """Divide a mean map into parts and find the classes that explain what the images have of them.

    Where there is evidence for classes, the map is divided once more, into smaller parts where they differ. What has
    more evidence counts.

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
    box_px, radius = step.model.box_px, step.model.radius
    count, map_px = parts_of(len(particles), radius), min(len(mean), map_size(box_px, radius))
    mean, mask = resized(mean, map_px), resized(mask, map_px).clamp(0, 1)
    edge_px = EDGE_PX * map_px / box_px

    def divided(interest: Tensor | None) -> FirstClasses:
        parts = divide_into_parts(mean, mask, count, seed, edge_px, interest)
        spheres = (transform(mean * weight, radius, box_px=box_px) for weight in parts)
        overlap, gram = part_overlaps(step, particles, spheres)
        occupancies = fit_occupancies(overlap.div_(temperature), gram.div_(temperature), n_classes, seed, STARTS)
        return FirstClasses(parts, occupancies)

    first = divided(None)
    if not first.occupancies.evidence > 0:
        return first
    second = divided(first.interest(INTEREST_WIDTH * edge_px))
    return max(first, second, key=lambda one: one.occupancies.evidence)
