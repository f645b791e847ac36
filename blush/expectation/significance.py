"""Which samples of a posterior matter: the smallest set that holds a fraction of its weight.

See docs/algorithm.md, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.compaction import running_sums
from blush.kernels import native

PRUNE = 30.0
"""Samples e^-30 below the best are dropped: they cannot change a sum of 10^6 samples by more than 1e-7."""
LONGEST_LIST = 2**22
"""Samples that are told apart without a list of those that matter."""
_DIGIT = 8
"""Bits of a number that are looked at together, from the sign on."""
_INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


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
    Nothing is sorted, which would cost more than scoring.
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
    if len(gap) > LONGEST_LIST:  # a list of those that matter is shorter, but the host waits for its length
        near = torch.nonzero(gap < PRUNE).squeeze(1)
        gap, owner = gap[near], owner[near]
    return cut_of(top, gap, owner, fraction)


def cut_of(top: Tensor, gap: Tensor, owner: Tensor, fraction: float) -> Cut:
    """Where posteriors are cut, from a list of their samples.

    The gap at which a sum crosses is found digit by digit of its bits, which order as positive numbers do: a histogram
    of each image's samples over the leading bits, one over the next bits of those that agree so far, and so on.

    Parameters
    ----------
    top
        (b,) largest log weight of each image.
    gap
        (n,) how far each sample lies below the top of its image; inf for one that does not exist.
    owner
        (n,) its image.
    """
    n_images = len(top)
    weight = torch.where(gap < PRUNE, torch.exp(-gap.double()), 0.0)
    bits = gap.clamp_max(PRUNE).view(_INTEGERS[gap.dtype])
    below = torch.zeros(n_images, dtype=torch.float64, device=gap.device)
    wanted = total = found = None
    bins = 1 << _DIGIT
    for shift in range(8 * gap.dtype.itemsize - _DIGIT, -1, -_DIGIT):
        digit = (bits >> shift) & (bins - 1)
        histogram = torch.zeros(n_images * bins, dtype=torch.float64, device=gap.device)
        histogram.index_add_(0, owner * bins + digit, weight)
        cumulative = below[:, None] + running_sums(histogram.view(n_images, bins))
        if wanted is None:
            total = cumulative[:, -1]
            wanted = fraction * total
        crossing = (cumulative > wanted[:, None]).to(torch.uint8).argmax(1)
        before = cumulative.gather(1, (crossing - 1).clamp_min(0)[:, None]).squeeze(1)
        below = torch.where(crossing > 0, before, below)
        weight = torch.where(digit == crossing[owner], weight, 0.0)
        found = crossing if found is None else (found << _DIGIT) | crossing
    if total is None or found is None:
        raise ValueError("a number without digits")
    return Cut(top, top.double() + total.log(), found.to(bits.dtype).view(gap.dtype))
