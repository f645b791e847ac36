"""Scores and weighted sums for the pairs (image, shift, orientation) that survived: the hot, irregular part.

Each function has a compiled kernel (`blush/fourier/native.cpp`) and a torch twin with the same arguments; the
twin also serves CUDA. Planar complex arrays are (..., 2, n).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier import native
from blush.fourier.shift import multiply

FLOATS_PER_CHUNK = 2**25
"""Bounds the gathered temporaries of the torch twins to 128 MB each."""
CHILD_SHIFTS = 4


@dataclass(frozen=True)
class Pairs:
    """Coarse poses: image, coarse shift and orientation of each, sorted by (image, orientation, shift); (p,) each."""

    image: Tensor
    shift: Tensor
    orientation: Tensor

    def part(self, begin: int, end: int, first_orientation: int) -> Pairs:
        """Pairs begin .. end, with orientations counted from `first_orientation`."""
        rows = slice(begin, end)
        return Pairs(self.image[rows], self.shift[rows], self.orientation[rows] - first_orientation)

    def int32(self) -> tuple[Tensor, Tensor, Tensor]:
        """Image, shift and orientation as the kernels take them."""
        image, shift, orientation = (x.to(torch.int32).contiguous() for x in (self.image, self.shift, self.orientation))
        return image, shift, orientation

    def __len__(self) -> int:
        return len(self.image)


def score_pairs(
    pairs: Pairs,
    image: Tensor,
    power: Tensor,
    phases: Tensor,
    slices: Tensor,
    log_prior: Tensor,
    cross_correlation: bool,
    of_one_image: int = 0,
) -> Tensor:
    """Log posterior of all children of each pair, up to a constant per image.

    Parameters
    ----------
    image, power
        (b, 2, n) s CTF X / sigma^2 and (b, n) (s CTF)^2 / (2 sigma^2).
    phases
        (t, 4, 2, n) of the four children of every coarse shift.
    slices
        (u, children, 2, n).
    log_prior
        (p,).
    cross_correlation
        Give the normalised correlation instead (docs/algorithm.md, section 2).
    of_one_image
        Where images have coarse shifts of their own, the most that one has; those of an image are consecutive.

    Returns
    -------
    (p, 4, children): Re< shifted image, slice > - sum_k power |slice|^2 + prior.
    """
    children, n = slices.shape[1], slices.shape[-1]
    out = torch.empty(len(pairs), CHILD_SHIFTS, children, dtype=image.dtype, device=image.device)
    if native.usable(image, slices) and children % 4 == 0:
        native.call(
            "score_pairs", image.contiguous(), power.contiguous(), phases.contiguous(), slices.contiguous(),
            of_one_image or len(phases), n, children, *pairs.int32(), log_prior.contiguous(), len(pairs),
            int(cross_correlation), out,
        )  # fmt: skip
        return out
    step = max(1, FLOATS_PER_CHUNK // (2 * n * children))
    for begin in range(0, len(pairs), step):
        rows = slice(begin, begin + step)
        model = slices[pairs.orientation[rows]]
        shifted = multiply(image[pairs.image[rows], None], phases[pairs.shift[rows]]).flatten(2)
        cross = shifted @ model.flatten(2).transpose(1, 2)
        weight = (model.square().sum(2) @ power[pairs.image[rows], :, None]).squeeze(-1)
        out[rows] = combine(cross, weight, cross_correlation)
        if not cross_correlation:
            out[rows] += log_prior[rows, None, None]
    return out


def combine(cross: Tensor, power: Tensor, cross_correlation: bool) -> Tensor:
    """Log likelihood up to a constant, cross - power; or the normalised correlation (docs/algorithm.md, section 2).

    Parameters
    ----------
    cross
        (b, t, r).
    power
        (b, r).
    """
    if cross_correlation:
        return cross / (2 * power).clamp_min(torch.finfo(power.dtype).tiny).sqrt()[:, None]
    return cross - power[:, None]


@dataclass(frozen=True)
class WeightedSums:
    """Weighted sums that `accumulate_pairs` adds to.

    Attributes
    ----------
    data, weight
        (rows, 2, n) and (rows, n) back-projection of each fine orientation.
    mean, square
        (b, 2, n) and (b, n) what the model predicts of each image.
    """

    data: Tensor
    weight: Tensor
    mean: Tensor
    square: Tensor


def accumulate_pairs(
    pairs: Pairs, weight: Tensor, image: Tensor, power: Tensor, phases: Tensor, slices: Tensor, sums: WeightedSums
) -> None:
    """Add the weighted samples to `sums` in place.

    With F = sum over an image's shifts of w phase, for every fine orientation (row): data[row] += F image;
    weight[row] += (sum w) power; mean[image] += conj(F) slice; square[image] += (sum w) |slice|^2.

    Parameters
    ----------
    weight
        (p, 4, children) posterior weights, 0 for samples that are not kept.
    image, power
        (b, 2, n) s CTF X / sigma^2 of the unmasked images, and (b, n) (s CTF)^2 / sigma^2.
    phases
        (t, 4, 2, n).
    slices
        (u, children, 2, n); row = children u + child.
    """
    children, n = slices.shape[1], slices.shape[-1]
    if native.usable(image, slices):
        native.call(
            "accumulate_pairs", image.contiguous(), power.contiguous(), phases.contiguous(), slices.contiguous(), n,
            children, *pairs.int32(), weight.contiguous(), len(pairs), sums.data, sums.weight, sums.mean, sums.square,
        )  # fmt: skip
        return
    step = max(1, FLOATS_PER_CHUNK // (2 * n * children))
    flat = slices.flatten(0, 1)
    for begin in range(0, len(pairs), step):
        rows = slice(begin, begin + step)
        part = Pairs(pairs.image[rows], pairs.shift[rows], pairs.orientation[rows])
        _accumulate_torch(part, weight[rows], image, power, phases, flat, sums)


def _accumulate_torch(
    pairs: Pairs, weight: Tensor, image: Tensor, power: Tensor, phases: Tensor, slices: Tensor, sums: WeightedSums
) -> None:
    children, n = weight.shape[2], slices.shape[-1]
    filters = (weight.transpose(1, 2) @ phases[pairs.shift].flatten(2)).view(-1, 2, n)
    total = weight.sum(1).flatten()
    child = torch.arange(children, device=total.device)
    row = (pairs.orientation[:, None] * children + child).flatten()
    i = pairs.image.repeat_interleave(children)
    model = slices[row]
    sums.data.index_add_(0, row, multiply(filters, image[i]))
    sums.weight.index_add_(0, row, total[:, None] * power[i])
    conjugate = torch.stack((filters[:, 0], -filters[:, 1]), dim=1)
    sums.mean.index_add_(0, i, multiply(conjugate, model))
    sums.square.index_add_(0, i, total[:, None] * model.square().sum(1))
