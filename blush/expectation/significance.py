"""Which samples of a posterior matter: the smallest set that holds a fraction of its weight.

See docs/algorithm.md, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.kernels import native

PRUNE = 30.0
"""Samples e^-30 below the best are dropped: they cannot change a sum of 10^6 samples by more than 1e-7."""
BINS_PER_UNIT = 32
_BINS = int(PRUNE) * BINS_PER_UNIT


@dataclass(frozen=True)
class Cut:
    """Where each image's posterior is cut; all (b,).

    Attributes
    ----------
    top
        Largest log weight.
    log_sum
        ln of the sum of exp(log weight) over all samples, float64.
    gap
        Samples within `gap` of the top are kept: the heaviest ones, until their sum exceeds the fraction. Equal
        samples are kept or dropped together.
    """

    top: Tensor
    log_sum: Tensor
    gap: Tensor

    def keeps(self, log_weight: Tensor, image: Tensor) -> Tensor:
        """Whether samples (n, m) of `image` (n,) are significant."""
        return self._below(log_weight, image) <= self.gap[image, None]

    def _below(self, log_weight: Tensor, image: Tensor) -> Tensor:
        """How far samples lie below the top of their image."""
        return self.top[image, None] - log_weight

    def weights(self, log_weight: Tensor, image: Tensor) -> Tensor:
        """Posterior weights (n, m) of significant samples, 0 for the others.

        They are normalised by the sum over *all* samples, so those of an image sum to a little under 1.
        """
        # From the top, not from the sum: of log weights near 10^5, float32 would leave two digits of every weight.
        below = self._below(log_weight, image)
        share_of_top = (self.top.double() - self.log_sum).to(log_weight.dtype)
        weight = (share_of_top[image, None] - below).exp()
        return torch.where(below <= self.gap[image, None], weight, torch.zeros_like(weight[:1, :1]))


def posterior_cut(log_weight: Tensor, image: Tensor, n_images: int, fraction: float) -> Cut:
    """Find where to cut the posterior of each image.

    Parameters
    ----------
    log_weight
        (n, m) unnormalised log posterior; -inf for a sample that does not exist.
    image
        (n,) image of each row, in any order; every image must occur with a finite sample.

    fraction
        Between 0 and 1, both excluded.

    Notes
    -----
    Only the samples of the histogram bin in which the sum crosses `fraction` are sorted; sorting all would cost more
    than scoring them.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction {fraction} must lie between 0 and 1")
    if native.usable(log_weight):
        top = torch.empty(n_images, dtype=torch.float32)
        log_sum, gap = torch.empty(n_images, dtype=torch.float64), torch.empty_like(top)
        native.call("posterior_cut", log_weight.contiguous(), image.to(torch.int32).contiguous(), *log_weight.shape,
                    n_images, float(fraction), top, log_sum, gap)  # fmt: skip
        return Cut(top, log_sum, gap)
    return _posterior_cut_torch(log_weight, image, n_images, fraction)


def _posterior_cut_torch(log_weight: Tensor, image: Tensor, n_images: int, fraction: float) -> Cut:
    top = torch.full((n_images,), -torch.inf, dtype=log_weight.dtype, device=log_weight.device)
    top = top.scatter_reduce(0, image, log_weight.amax(1), "amax")
    gap = (top[image, None] - log_weight).flatten()
    owner = image.repeat_interleave(log_weight.shape[1])
    near = torch.nonzero(gap < PRUNE).squeeze(1)
    gap, owner = gap[near], owner[near]
    weight = torch.exp(-gap.double())
    position = (gap * BINS_PER_UNIT).long().clamp_max(_BINS - 1)
    histogram = torch.zeros(n_images * _BINS, dtype=torch.float64, device=weight.device)
    cumulative = histogram.index_add_(0, owner * _BINS + position, weight).view(n_images, _BINS).cumsum(1)
    total = cumulative[:, -1]
    crossing = (cumulative > fraction * total[:, None]).double().argmax(1)
    below = torch.where(crossing > 0, cumulative.gather(1, (crossing - 1).clamp_min(0)[:, None]).squeeze(1), 0.0)
    at_edge = torch.nonzero(position == crossing[owner]).squeeze(1)
    return Cut(top, top.double() + total.log(), _edge_gap(gap[at_edge], owner[at_edge], below, fraction * total))


def _edge_gap(gap: Tensor, owner: Tensor, below: Tensor, wanted: Tensor) -> Tensor:
    """Gap of the sample with which each image's sum, starting at `below`, first exceeds `wanted`."""
    order = torch.argsort(gap, stable=True)
    order = order[torch.argsort(owner[order], stable=True)]
    gap, owner = gap[order], owner[order]
    weight = torch.exp(-gap.double())
    before = weight.cumsum(0) - weight
    first = torch.searchsorted(owner, owner)
    needed = before - before[first] + below[owner] <= wanted[owner]
    cut = torch.zeros(len(below), dtype=gap.dtype, device=gap.device)
    return cut.scatter_reduce(0, owner[needed], gap[needed], "amax")
