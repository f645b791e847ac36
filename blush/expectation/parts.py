"""How much of every part of a map is in every image, at the pose that it has."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from blush.expectation.shard import Expectation
from blush.fourier.many_maps import interleave, project_many
from blush.fourier.transform import Sphere
from blush.geometry.rotation import matrix_from_euler
from blush.io.particles import ParticleSet

BYTES_AT_ONCE = 2**28
PARTS_TOGETHER = 8
"""Transforms that lie side by side in memory."""


def part_overlaps(step: Expectation, particles: ParticleSet, parts: Iterable[Sphere]) -> tuple[Tensor, Tensor]:
    """Products of every image with the projections of parts, and of the projections with each other.

    Parameters
    ----------
    step
        Made for a model with given poses, whose noise, CTFs, masks and image size are used, not its references.
    parts
        Transforms within the model's radius, of which few are asked for at once.

    Returns
    -------
    (n, parts) <X, CTF P_b> / sigma^2 and (n, parts (parts + 1) / 2) <CTF P_b, CTF P_c> / sigma^2, the upper triangle by
    rows, float64. Memory is twice that of the result, that of the transforms, and 256 MB.
    """
    left, maps = iter(parts), []
    while some := list(islice(left, PARTS_TOGETHER)):
        maps.append(interleave(some))
    count, n = sum(one.n_maps for one in maps), step.n_pixels
    at_once = max(1, BYTES_AT_ONCE // (4 * n * count * step.dtype.itemsize))
    row, column = torch.triu_indices(count, count, device=step.device)
    overlaps, grams = [], []
    for begin in range(0, len(particles), at_once):
        images = particles.take(np.arange(begin, min(begin + at_once, len(particles))))
        _, weighted = step.at_given_poses(images)
        euler = np.stack([images.rot_deg, images.tilt_deg, images.psi_deg], 1)
        matrices = matrix_from_euler(torch.from_numpy(euler).to(step.device))
        slices = torch.cat([project_many(one, matrices, step.pixels, n) for one in maps], 1)
        overlaps.append(torch.einsum("bcn,bmcn->bm", weighted.cross, slices).double())
        seen = (slices * (2 * weighted.power)[:, None, None].sqrt()).flatten(2)
        grams.append((seen @ seen.transpose(1, 2))[:, row, column].double())
    return torch.cat(overlaps), torch.cat(grams)
