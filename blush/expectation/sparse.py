"""Scores and weighted sums for the pairs (image, shift, orientation) that survived: the hot, irregular part.

Planar complex arrays are (..., 2, n).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from blush.kernels.accumulate import accumulate
from blush.kernels.score import score
from blush.kernels.shifts import Shifts


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

    def __len__(self) -> int:
        return len(self.image)


def score_pairs(
    pairs: Pairs,
    image: Tensor,
    power: Tensor,
    shifts: Shifts,
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
    shifts
        The four children of every coarse shift.
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
    return score(
        image, power, slices, shifts.px, shifts.kx, shifts.ky, shifts.box_px,
        pairs.image, pairs.shift, pairs.orientation, log_prior, cross_correlation, of_one_image,
    )  # fmt: skip


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
    pairs: Pairs, weight: Tensor, image: Tensor, power: Tensor, shifts: Shifts, slices: Tensor, sums: WeightedSums
) -> None:
    """Add the weighted samples to `sums` in place, as `blush/kernels/accumulate.py` says.

    Parameters
    ----------
    weight
        (p, 4, children) posterior weights, 0 for samples that are not kept.
    image, power
        (b, 2, n) s CTF X / sigma^2 of the unmasked images, and (b, n) (s CTF)^2 / sigma^2.
    shifts
        The four children of every coarse shift.
    slices
        (u, children, 2, n); row = children u + child.
    """
    accumulate(
        weight, image, power, slices, shifts.px, shifts.kx, shifts.ky, shifts.box_px,
        pairs.image, pairs.shift, pairs.orientation, sums.data, sums.weight, sums.mean, sums.square,
    )  # fmt: skip
