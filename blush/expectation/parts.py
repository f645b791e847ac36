"""How much of every part of a map is in every image, at the pose that it has."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from blush.expectation.shard import Expectation
from blush.fourier.many_maps import interleave, project_many
from blush.fourier.transform import Sphere
from blush.geometry.rotation import matrix_from_euler
from blush.io.particles import ParticleSet

BYTES_AT_ONCE = 2**28


def part_overlaps(step: Expectation, particles: ParticleSet, parts: Sequence[Sphere]) -> tuple[Tensor, Tensor]:
    """Products of every image with the projections of parts, and of the projections with each other.

    Parameters
    ----------
    step
        Made for a model with given poses, whose noise, CTFs, masks and image size are used, not its references.
    parts
        Transforms within the model's radius.

    Returns
    -------
    (n, parts) <X, CTF P_b> / sigma^2 and (n, parts, parts) <CTF P_b, CTF P_c> / sigma^2, float64. Memory is that of the
    result and 256 MB.
    """
    maps, n = interleave(parts), step.n_pixels
    at_once = max(1, BYTES_AT_ONCE // (4 * n * len(parts) * step.dtype.itemsize))
    overlaps, grams = [], []
    for begin in range(0, len(particles), at_once):
        some = particles.take(np.arange(begin, min(begin + at_once, len(particles))))
        _, weighted = step.at_given_poses(some)
        euler = np.stack([some.rot_deg, some.tilt_deg, some.psi_deg], 1)
        slices = project_many(maps, matrix_from_euler(torch.from_numpy(euler).to(step.device)), step.pixels, n)
        overlaps.append(torch.einsum("bcn,bmcn->bm", weighted.cross, slices).double())
        seen = (slices * (2 * weighted.power)[:, None, None].sqrt()).flatten(2)
        grams.append((seen @ seen.transpose(1, 2)).double())
    return torch.cat(overlaps), torch.cat(grams)
