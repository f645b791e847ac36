"""First pass: every coarse pose of every image, as matrix products (docs/algorithm.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.model import Model
from blush.expectation.significance import posterior_cut
from blush.expectation.sparse import combine
from blush.fourier.packed import Packed
from blush.fourier.project import project, project_weighted
from blush.fourier.shift import multiply

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
    """

    cross: Tensor
    power: Tensor
    log_prior_shift: Tensor


@dataclass(frozen=True)
class Poses:
    """Coarse poses kept for the second pass: image, shift, orientation, log prior; count per image (b,)."""

    image: Tensor
    shift: Tensor
    orientation: Tensor
    log_prior: Tensor
    count: Tensor


class GlobalSearch:
    """The orientations of one iteration, projected once and shared by every block of images."""

    def __init__(self, model: Model, pixels: Packed, dtype: torch.dtype) -> None:
        self.model, self.pixels = model, pixels
        self.n_pixels = pixels.inside(model.coarse_radius)
        n_directions, n_psi = model.grid.n_directions, model.grid.n_psi
        self.n_orientations = n_directions * n_psi
        prior = model.log_prior_direction
        flat = torch.zeros(n_directions) if prior is None else prior
        self.log_prior = flat.to(device=pixels.kx.device, dtype=dtype).repeat_interleave(n_psi)
        self._keep = self.n_orientations * 2 * self.n_pixels <= CACHED_FLOATS
        self._tiles: dict[int, Tensor] = {}

    def tile(self, begin: int) -> Tensor:
        """Slices of orientations begin .. begin + TILE: (r, 2, n)."""
        if begin in self._tiles:
            return self._tiles[begin]
        index = torch.arange(begin, min(begin + TILE, self.n_orientations), device=self.pixels.kx.device)
        slices = project(self.model.sphere, self.model.grid.matrices(index), self.pixels, self.n_pixels)
        if self._keep:
            self._tiles[begin] = slices
        return slices

    def search(self, block: Weighted, phases: Tensor) -> Poses:
        """Score all poses of a block and keep the significant ones; `phases` are (t, 2, n) of the coarse shifts."""
        n, (b, t) = self.n_pixels, block.log_prior_shift.shape
        rows = multiply(block.cross[:, None, :, :n], phases[None, ..., :n]).reshape(b * t, 2 * n)
        scores = torch.empty(b, t, self.n_orientations, dtype=rows.dtype, device=rows.device)
        for begin in range(0, self.n_orientations, TILE):
            slices = self.tile(begin)
            power = block.power[:, :n] @ slices.square().sum(1).T
            cross = (rows @ slices.flatten(1).T).view(b, t, -1)
            end = begin + slices.shape[0]
            scores[:, :, begin:end] = combine(cross, power, self.model.cross_correlation)
        if not self.model.cross_correlation:
            scores += block.log_prior_shift[:, :, None]
            scores += self.log_prior
        return keep(scores, block.log_prior_shift[:, :, None] + self.log_prior, None, self.model)


def keep(scores: Tensor, log_prior: Tensor, orientation: Tensor | None, model: Model) -> Poses:
    """The significant poses, or the single best of each image under cross-correlation.

    Parameters
    ----------
    scores
        (b, t, r).
    log_prior
        (b or 1, t, r) or broadcastable.
    orientation
        (b, r) orientation of each column, or None where they count the grid.
    """
    b = scores.shape[0]
    rows = torch.arange(b, device=scores.device)
    cut = posterior_cut(scores.flatten(1), rows, b, model.adaptive_fraction)
    gap = torch.zeros_like(cut.gap) if model.cross_correlation else cut.gap
    # How many poses there are is the host's to know: one of 28 to 38 synchronisations of a block on a GPU.
    image, shift, column = torch.nonzero(cut.top[:, None, None] - scores <= gap[:, None, None], as_tuple=True)
    prior = log_prior.expand_as(scores)[image, shift, column]
    chosen = column if orientation is None else orientation[image, column]
    return Poses(image, shift, chosen, prior, torch.bincount(image, minlength=b))


def local_search(
    block: Weighted, phases: Tensor, orientation: Tensor, log_prior: Tensor, model: Model, pixels: Packed
) -> Poses:
    """Score the neighbourhood of each image's previous pose.

    Parameters
    ----------
    orientation, log_prior
        (b, m) grid indices (-1 where a neighbourhood is smaller) and their log priors.
    """
    n, (b, t) = pixels.inside(model.coarse_radius), block.log_prior_shift.shape
    m = orientation.shape[1]
    matrices = model.grid.matrices(orientation.clamp_min(0).flatten())
    slices, power = project_weighted(model.sphere, matrices, pixels, n, block.power[:, :n])
    rows = multiply(block.cross[:, None, :, :n], phases[None, ..., :n]).reshape(b, t, 2 * n)
    slices, power = slices.view(b, m, 2 * n), power.view(b, m)
    scores = combine(rows @ slices.transpose(1, 2), power, model.cross_correlation)
    prior = block.log_prior_shift[:, :, None] + log_prior[:, None, :].to(scores.dtype)
    if not model.cross_correlation:
        scores = scores + prior
    scores = scores.masked_fill((orientation < 0)[:, None, :], -torch.inf)
    return keep(scores, prior, orientation, model)
