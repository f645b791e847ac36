"""How evenly views sample Fourier space: the sampling compensation factor of a set of viewing directions.

An image gives a central plane, so a direction in Fourier space is sampled by the views perpendicular to it. Noise falls
with the number of samples, and where few views fill some directions, their noise weighs most in a shell: the factor is
what is left of the shell's signal-to-noise ratio, relative to as many uniform views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.geometry.rotation import random_directions

RADIUS_SHELLS = 50.0
"""Shell at which planes one voxel thick are counted."""
MOST_VIEWS = 10_000
"""Views, with their symmetry mates, that are counted; of more, a random part."""
REPEATS = 4
"""Random uniform sets of as many views, for what such a number can reach."""
UNIFORM_POINTS = 4000
COUNT_CELLS = (30, 60)
"""Cells along tilt and rot in which views are counted."""
_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Sampling:
    """Samples of a shell of Fourier space.

    Attributes
    ----------
    scf
        Sampling compensation factor of the places that have samples: 1 for uniform views.
    scf_star
        The same, less what places without any sample cost: 0 to 1.
    empty
        Fraction of the places without a sample.
    """

    scf: float
    scf_star: float
    empty: float


def half_sphere(count: int) -> Tensor:
    """Nearly uniform points on the upper half of the unit sphere, on a Fibonacci spiral: (count, 3) float64, x y z.

    References
    ----------
    Swinbank & Purser 2006, doi:10.1256/qj.05.227
    """
    index = torch.arange(count, dtype=torch.float64)
    z = 1 - (index + 0.5) / count
    angle = math.pi * (3 - math.sqrt(5)) * index
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)


def sampling(views: Tensor, points: Tensor | None = None) -> Sampling:
    """Sampling compensation factor of some views.

    Parameters
    ----------
    views
        (v, 3) unit vectors, with their symmetry mates.
    points
        (p, 3) unit vectors at which samples are counted; None: about one for each voxel of half the shell.

    References
    ----------
    Baldwin & Lyumkis 2020, doi:10.1016/j.pbiomolbio.2019.09.002; for empty places 2021,
    doi:10.1016/j.pbiomolbio.2020.06.003
    """
    places = half_sphere(round(2 * math.pi * RADIUS_SHELLS**2)) if points is None else points
    mine, limit = views.T.float().contiguous(), 0.5 / RADIUS_SHELLS
    batches = torch.split(places.float(), max(1, _AT_ONCE // max(1, len(views))))
    samples = torch.cat([((batch @ mine).abs() < limit).sum(1) for batch in batches]).double()
    mean, filled = float(samples.mean()), samples[samples > 0]
    if not len(filled):
        return Sampling(0.0, 0.0, 1.0)
    empty = 1 - len(filled) / len(samples)
    scf = 1 / (float((1 / filled).mean()) * mean)
    return Sampling(scf, scf / (1 + 0.5 * empty / (1 - empty) * mean * scf), empty)


def expanded(views: Tensor, operators: Tensor) -> Tensor:
    """Views with all their symmetry mates.

    Parameters
    ----------
    views
        (v, 3).
    operators
        (o, 3, 3) of `blush.geometry.symmetry.operators`.

    Returns
    -------
    (v o, 3).
    """
    return torch.einsum("vi,oij->voj", views, operators.to(views)).reshape(-1, 3)


def counted(views: Tensor, operators: Tensor, seed: int) -> Tensor:
    """As many views, with their mates, as are counted: all, or a random part."""
    most = max(1, MOST_VIEWS // len(operators))
    if len(views) > most:
        views = views[torch.randperm(len(views), generator=torch.Generator().manual_seed(seed))[:most]]
    return expanded(views, operators)


def uniform_sampling(count: int, operators: Tensor, seed: int) -> float:
    """Mean `scf_star` of as many random uniform views, with their mates: what chance leaves of 1."""
    generator, points = torch.Generator().manual_seed(seed), half_sphere(UNIFORM_POINTS)
    number = min(count, max(1, MOST_VIEWS // len(operators)))
    found = [
        sampling(expanded(random_directions(number, generator), operators), points).scf_star for _ in range(REPEATS)
    ]
    return sum(found) / REPEATS


def view_counts(views: Tensor, operators: Tensor) -> Tensor:
    """Views with their mates in cells of equal area over the whole sphere: (30, 60) int64.

    Rows divide the cosine of the tilt, from 1 down to -1, and columns the rot, from -180° up.
    """
    rows, columns = COUNT_CELLS
    total = torch.zeros(rows * columns, dtype=torch.int64)
    for operator in operators:
        x, y, z = (views @ operator.to(views)).unbind(1)
        row = ((1 - z) / 2 * rows).long().clamp(0, rows - 1)
        column = ((torch.atan2(y, x) / (2 * math.pi) + 0.5) * columns).long().clamp(0, columns - 1)
        total += torch.bincount(row * columns + column, minlength=rows * columns)
    return total.reshape(rows, columns)
