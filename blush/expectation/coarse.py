"""First pass: every coarse pose of every image, as matrix products (docs/algorithm.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.kept_poses import Poses, keep
from blush.expectation.model import Model
from blush.expectation.shared_slices import SharedLists
from blush.fourier.packed import Packed
from blush.fourier.project import project_weighted
from blush.fourier.shift import multiply
from blush.kernels.score import combine

TILE = 1024  # orientations per matrix product: 1024 x 1000 pixels x 2 x 4 B = 8 MB of slices
CACHED_FLOATS = 2**27  # slices of the whole grid are kept for a shard while they are below 512 MB


@dataclass(frozen=True)
class Weighted:
    """A block of images as the score needs them.

    Attributes
    ----------
    cross
        (b, 2, n) s CTF X / sigma^2 of the masked images, zero at the origin.
    power
        (b, n) (s CTF)^2 / (2 sigma^2), zero at the origin.
    log_prior_shift
        (b, t) log prior of the coarse shifts.
    confined_to
        (b,) the one reference that each is compared with, or None: all.
    """

    cross: Tensor
    power: Tensor
    log_prior_shift: Tensor
    confined_to: Tensor | None = None


class GlobalSearch:
    """The rows of one iteration, projected once and shared by every block of images."""

    def __init__(self, model: Model, pixels: Packed, dtype: torch.dtype) -> None:
        self.model, self.pixels = model, pixels
        self.n_pixels = pixels.inside(model.coarse_radius)
        component = model.component
        self.log_prior = component.log_prior(torch.empty(0, dtype=dtype, device=pixels.kx.device))
        self._keep = component.n_rows * 2 * self.n_pixels <= CACHED_FLOATS
        self._tiles: dict[int, Tensor] = {}

    def tile(self, k: int, begin: int, end: int) -> Tensor:
        """Slices of rows begin .. end, all of reference k: (r, 2, n)."""
        if begin in self._tiles:
            return self._tiles[begin]
        slices = self.model.component.coarse_slices(k, begin, end, self.pixels, self.n_pixels)
        if self._keep:
            self._tiles[begin] = slices
        return slices

    def search(self, block: Weighted, phases: Tensor) -> Poses:
        """Score all poses of a block and keep the significant ones; `phases` are (t, 2, n) of the coarse shifts."""
        n, (b, t) = self.n_pixels, block.log_prior_shift.shape
        rows = multiply(block.cross[:, None, :, :n], phases[None, ..., :n]).reshape(b * t, 2 * n)
        scores = torch.empty(b, t, self.model.component.n_rows, dtype=rows.dtype, device=rows.device)
        for k, begin, end in self.model.component.tiles(TILE):
            slices = self.tile(k, begin, end)
            power = block.power[:, :n] @ slices.square().sum(1).T
            cross = (rows @ slices.flatten(1).T).view(b, t, -1)
            scores[:, :, begin:end] = combine(cross, power, self.model.cross_correlation)
        if not self.model.cross_correlation:
            scores += block.log_prior_shift[:, :, None]
            scores += self.log_prior
        confine(scores, block.confined_to, self.model)
        fine = block.cross.shape[-1]
        return keep(scores, block.log_prior_shift[:, :, None] + self.log_prior, None, self.model, fine)


def confine(scores: Tensor, to: Tensor | None, model: Model) -> None:
    """Leave each image (b, t, rows) the rows of one reference only, `to` (b,), in place; None: all of them."""
    if to is None:
        return
    n = len(model.component.references)
    grouped = scores.view(*scores.shape[:2], n, -1)
    others = torch.arange(n, device=scores.device) != to[:, None]
    grouped.masked_fill_(others[:, None, :, None], -torch.inf)


def local_search(
    block: Weighted, phases: Tensor, orientation: Tensor, log_prior: Tensor, model: Model, pixels: Packed,
    shared: SharedLists | None = None,
) -> Poses:  # fmt: skip
    """Score lists of orientations of each image, as the neighbourhood of its previous pose.

    Parameters
    ----------
    phases
        (t, 2, n) of the coarse shifts; where images have shifts of their own, (b, t, 2, n), or (b, t / l, 2, n) where
        they are the same for all lists.
    orientation
        (b, l, m) grid indices, -1 where a list is shorter; the first t / l shifts are those of the first list.
    log_prior
        (b, 1 or t, m) their log priors, of each shift where they depend on it.
    shared
        What these orientations are, where slices of them serve many images.
    """
    (b, t), component, lists = block.log_prior_shift.shape, model.component, orientation.shape[1]
    if shared is None:
        scores = _scores_of_lists(block, phases, orientation, model, pixels)
    else:
        n = pixels.inside(model.coarse_radius)
        rows = multiply(block.cross[:, None, :, :n], phases[..., :n]).view(b, t // lists, 2 * n)
        power = block.power[:, :n]
        scores = [shared.scores(rows, power, k) for k in range(len(component.references))]
    priors = [log_prior + reference.log_prior for reference in component.references]
    score, first = _joined(scores), torch.arange(len(scores), device=orientation.device)
    prior = block.log_prior_shift[:, :, None] + _joined(priors).to(score.dtype)
    if not model.cross_correlation:
        score += prior
    row = orientation[:, :, None] + first[:, None] * component.grid.n_orientations
    missing = (orientation < 0).repeat(1, 1, len(scores))
    score.view(b, lists, t // lists, -1).masked_fill_(missing[:, :, None, :], -torch.inf)
    confine(score, block.confined_to, model)
    return keep(score, prior, row.flatten(2), model, block.cross.shape[-1])


def _joined(parts: list[Tensor]) -> Tensor:
    """Side by side in the last dimension; what is alone is not copied."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, 2)


def _scores_of_lists(
    block: Weighted, phases: Tensor, orientation: Tensor, model: Model, pixels: Packed
) -> list[Tensor]:
    """(b, t, m) log likelihoods by each reference, -inf in lists that hold nothing."""
    n, (b, t), (lists, m) = pixels.inside(model.coarse_radius), block.log_prior_shift.shape, orientation.shape[1:]
    rows = multiply(block.cross[:, None, :, :n], phases[..., :n]).reshape(b * lists, t // lists, 2 * n)
    power, near = block.power[:, :n], orientation.flatten(0, 1)
    used = None
    if lists > 1:
        used = torch.nonzero((near >= 0).any(1)).squeeze(1)
        rows, power, near = rows[used], power[torch.div(used, lists, rounding_mode="floor")], near[used]
    matrices = model.component.grid.matrices(near.clamp_min(0).flatten())
    scores = []
    for reference in model.component.references:
        slices, weight = project_weighted(reference.sphere, matrices, pixels, n, power)
        slices, weight = slices.view(len(rows), m, 2 * n), weight.view(len(rows), m)
        found = combine(rows @ slices.transpose(1, 2), weight, model.cross_correlation)
        if used is not None:
            found = found.new_full((b * lists, *found.shape[1:]), -torch.inf).index_copy_(0, used, found)
        scores.append(found.view(b, t, m))
    return scores
