"""Which samples of a posterior matter: the smallest set that holds a fraction of its weight (refinement.md 2.4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

PRUNE = 30.0  # samples e^-30 below the best cannot change a sum of 10^6 samples by more than 1e-7
BINS_PER_UNIT = 32


@dataclass(frozen=True)
class Kept:
    """Significant samples, in the order they were given, and what normalises them.

    Attributes
    ----------
    index
        (s,) positions in the list that was given, ascending.
    weight
        (s,) posterior weights, float64: over *all* samples, so that they sum to a little under 1 per image.
    best
        (b,) position of the most probable sample of each image, the first of equals.
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
    """Keep each image's heaviest samples until their cumulative weight exceeds `fraction`.

    Parameters
    ----------
    log_weight
        (c,) unnormalised log posterior of the samples.
    image
        (c,) image of each sample, ascending; every image must occur.

    Notes
    -----
    Only the samples of the histogram bin in which the sum crosses `fraction` are sorted; sorting all would cost more
    than scoring them.
    """
    top = torch.full((n_images,), -torch.inf, dtype=log_weight.dtype, device=log_weight.device)
    top = top.scatter_reduce(0, image, log_weight, "amax")
    near = torch.nonzero(log_weight > top[image] - PRUNE).squeeze(1)
    owner = image[near]
    gap = top[owner] - log_weight[near]
    weight = torch.exp(-gap.double())
    bins = int(PRUNE * BINS_PER_UNIT) + 1
    position = (gap * BINS_PER_UNIT).long()
    histogram = torch.zeros(n_images * bins, dtype=torch.float64, device=weight.device)
    cumulative = histogram.index_add_(0, owner * bins + position, weight).view(n_images, bins).cumsum(1)
    total = cumulative[:, -1]
    crossing = (cumulative > fraction * total[:, None]).double().argmax(1)
    kept = position < crossing[owner]
    at_edge = torch.nonzero(position == crossing[owner]).squeeze(1)
    below = torch.where(crossing > 0, cumulative.gather(1, (crossing - 1).clamp_min(0)[:, None]).squeeze(1), 0.0)
    kept[at_edge] = _fills(weight[at_edge], owner[at_edge], below, fraction * total)
    chosen = torch.nonzero(kept).squeeze(1)
    first = torch.full((n_images,), len(gap), dtype=torch.int64, device=gap.device)
    tops = torch.nonzero(gap == 0).squeeze(1)
    first = first.scatter_reduce(0, owner[tops], tops, "amin")
    count = torch.bincount(owner[chosen], minlength=n_images)
    return Kept(near[chosen], weight[chosen] / total[owner[chosen]], near[first], top.double() + total.log(), count)


def _fills(weight: Tensor, owner: Tensor, below: Tensor, wanted: Tensor) -> Tensor:
    """Of samples that would start at `below` (per image), those needed to exceed `wanted`, heaviest first."""
    order = torch.argsort(weight, descending=True, stable=True)
    order = order[torch.argsort(owner[order], stable=True)]
    sorted_weight, sorted_owner = weight[order], owner[order]
    before = sorted_weight.cumsum(0) - sorted_weight
    first = torch.searchsorted(sorted_owner, sorted_owner)
    needed = torch.empty_like(sorted_owner, dtype=torch.bool)
    needed[order] = before - before[first] + below[sorted_owner] <= wanted[sorted_owner]
    return needed
