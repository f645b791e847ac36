"""Which samples of a posterior matter: the smallest set that holds a fraction of its weight (refinement.md 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PRUNE = 30.0  # samples e^-30 below the best cannot change a sum of 10^6 samples by more than 1e-7


@dataclass(frozen=True)
class Kept:
    """Significant samples, ordered by image, and what normalises them.

    Attributes
    ----------
    index
        (s,) positions in the list that was given.
    weight
        (s,) posterior weights: over *all* samples, so that they sum to a little under 1 per image.
    best
        (b,) position of the most probable sample of each image.
    log_sum
        (b,) ln of the sum of exp(log weight) over all samples, float64.
    count
        (b,) number of significant samples.
    """

    index: Tensor
    weight: Tensor
    best: Tensor
    log_sum: Tensor
    count: Tensor


def significant(log_weight: Tensor, image: Tensor, n_images: int, fraction: float) -> Kept:
    """Sort each image's samples by weight and keep the first whose cumulative weight exceeds `fraction`.

    Parameters
    ----------
    log_weight
        (c,) unnormalised log posterior of the samples.
    image
        (c,) image of each sample, ascending; every image must occur.
    """
    top = torch.full((n_images,), -torch.inf, dtype=log_weight.dtype, device=log_weight.device)
    top = top.scatter_reduce(0, image, log_weight, "amax")
    near = torch.nonzero(log_weight > top[image] - PRUNE).squeeze(1)
    weight, owner = (log_weight[near] - top[image[near]]).double().exp(), image[near]
    order = torch.argsort(weight, descending=True, stable=True)
    order = order[torch.argsort(owner[order], stable=True)]
    weight, owner, near = weight[order], owner[order], near[order]
    total = torch.zeros(n_images, dtype=torch.float64, device=weight.device).index_add_(0, owner, weight)
    before = weight.cumsum(0) - weight
    first = torch.searchsorted(owner, torch.arange(n_images, device=owner.device))
    kept = (before - before[first][owner]) <= fraction * total[owner]
    kept[first] = True
    owner = owner[kept]
    count = torch.zeros(n_images, dtype=torch.int64, device=owner.device).index_add_(0, owner, torch.ones_like(owner))
    return Kept(near[kept], weight[kept] / total[owner], near[first], top.double() + total.log(), count)
