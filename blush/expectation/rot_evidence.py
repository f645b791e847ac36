"""Polarity and reduced rot of segments in bins: their log priors between bins, and what images say of each bin."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_EVIDENCE = 1e-4
"""Likelihood of a bin, over an image's mean, below which it is not told apart: an image may show something else."""


def interpolated(table: Tensor, image: Tensor, polarity: Tensor, position: Tensor) -> Tensor:
    """Entries of a periodic table between its bins, linearly.

    Parameters
    ----------
    table
        (b, 2, bins); bin k is at position k.
    image, polarity, position
        Indices and places of one shape, or broadcastable.
    """
    bins, lower = table.shape[2], position.floor()
    share = (position - lower).to(table.dtype)
    first = torch.remainder(lower.long(), bins)
    second = torch.where(first == bins - 1, 0, first + 1)
    start = (image * 2 + polarity) * bins
    flat = table.flatten()
    return flat[start + first] * (1 - share) + flat[start + second] * share


def binned(
    weight: Tensor, image: Tensor, polarity: Tensor, position: Tensor, shape: tuple[int, int, int]
) -> Tensor:  # fmt: skip
    """Sums of weights by image, polarity and bin, each divided between the two bins next to it: `shape`, float64.

    Parameters
    ----------
    weight, image, polarity, position
        As for `interpolated`, of the shape of the position.
    """
    bins, lower = shape[2], position.floor()
    share = position - lower
    first = torch.remainder(lower.long(), bins)
    start = ((image * 2 + polarity) * bins).expand_as(position)
    total = torch.zeros(shape, dtype=torch.float64, device=weight.device)
    second = torch.where(first == bins - 1, 0, first + 1)
    for index, part in ((first, 1 - share), (second, share)):
        total.view(-1).index_add_(0, (start + index).flatten(), (weight * part).double().flatten())
    return total


def smoothing(bins: int, width: float) -> Tensor:
    """(bins, bins) symmetric matrix that spreads a bin over a triangle, of which `width` bins lie on each side.

    Samples of a grid are farther apart than bins may be, so what they say is said of all bins nearer than the next
    sample. The identity where the width is at most 1.
    """
    distance = torch.arange(bins, dtype=torch.float64)
    distance = torch.minimum(distance, bins - distance)
    triangle = (1 - distance / max(width, 1.0)).clamp_min(0)
    index = (torch.arange(bins)[:, None] - torch.arange(bins)) % bins
    return (triangle / triangle.sum())[index]


def evidence(posterior: Tensor, prior: Tensor, spread: Tensor) -> Tensor:
    """Log of the likelihood of each bin over the image's mean.

    Parameters
    ----------
    posterior, prior
        (b, 2, bins) masses, both without the prior of polarity and bin; over the sum of the posterior with it, and over
        the sum of the prior with it.
    spread
        (bins, bins) of `smoothing`.

    Returns
    -------
    (b, 2, bins) float32, at least ln 1e-4; bins that were not searched get the least of those that were, and NaN where
    nothing of a polarity was: it may be the true one as well as before.
    """
    seen, known = posterior @ spread.to(posterior), prior @ spread.to(prior)
    searched = known > 1e-12 * known.amax((1, 2), keepdim=True)
    ratio = (seen / known.where(searched, 1)).clamp_min(LEAST_EVIDENCE).log()
    least = ratio.masked_fill(~searched, math.inf).amin((1, 2), keepdim=True)
    return ratio.where(searched, least).masked_fill(~searched.any(2, keepdim=True), math.nan).float()
