"""References compared at the pose that an image has: one orientation each, no search (docs/algorithm.md, section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.coarse import Weighted
from blush.expectation.competition import tempered_shares
from blush.expectation.model import Model
from blush.fourier.many_maps import interleave, predict_many, score_many
from blush.fourier.many_sums import InterleavedSums, empty_sums, insert_many
from blush.fourier.packed import Packed
from blush.geometry.rotation import matrix_from_euler
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded
from blush.kernels.score import combine


@dataclass(frozen=True)
class FixedPosterior:
    """Shares of references at given poses.

    Attributes
    ----------
    shares
        (b, references) posterior, float64.
    kept
        (b, references) the same, 0 for references that an image is neither inserted into nor predicted from.
    log_sum
        (b,) ln of the sum of the unnormalised weights, float64.
    matrices
        (b, 3, 3) orientations.
    """

    shares: Tensor
    kept: Tensor
    log_sum: Tensor
    matrices: Tensor


def significant(shares: Tensor, fraction: float) -> Tensor:
    """Shares (b, references) of the fewest references that hold more than `fraction` of an image; 0 for the others."""
    ordered, place = shares.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(1) - ordered
    return torch.zeros_like(shares).scatter(1, place, ordered.masked_fill(before > fraction, 0))


class FixedPoses:
    """The references of one iteration, stored side by side and shared by every block of images."""

    def __init__(self, model: Model, pixels: Packed) -> None:
        self.model, self.pixels = model, pixels
        references = model.component.references
        self.maps = interleave([one.sphere for one in references])
        device = self.maps.values.device
        self.log_prior = torch.tensor([one.log_prior for one in references], dtype=torch.float64, device=device)

    def empty_sums(self) -> InterleavedSums:
        """Sums of no image, one volume for each reference."""
        maps = self.maps
        like = maps.values
        return empty_sums(maps.n_maps, maps.box_px, maps.r_max, dtype=like.dtype, device=like.device, pad=maps.pad)

    def matrices(self, particles: ParticleSet) -> Tensor:
        """(b, 3, 3) orientations that the images have."""
        euler = np.stack([getattr(particles, name) for name in ("rot_deg", "tilt_deg", "psi_deg")], 1)
        return matrix_from_euler(uploaded(euler, self.log_prior.device))

    def log_likelihoods(self, block: Block, weighted: Weighted) -> Tensor:
        """(b, references) log likelihood of each reference, but for a constant of the image: float64."""
        matrices = self.matrices(block.particles)
        return score_many(self.maps, matrices, weighted.cross, weighted.power, self.pixels)

    def posterior(self, block: Block, weighted: Weighted) -> FixedPosterior:
        """Score every reference at every image's own pose and normalise over references."""
        matrices = self.matrices(block.particles)
        if self.model.cross_correlation:
            return self._winners(matrices, weighted)
        score = score_many(self.maps, matrices, weighted.cross, weighted.power, self.pixels) + self.log_prior
        if weighted.confined_to is not None:
            score = score.masked_fill(self._others(weighted.confined_to), -torch.inf)
        shares = tempered_shares(score, self.log_prior, self.model.temperature)
        kept = significant(shares, self.model.adaptive_fraction)
        return FixedPosterior(shares, kept, torch.logsumexp(score, 1), matrices)

    def _winners(self, matrices: Tensor, weighted: Weighted) -> FixedPosterior:
        """All of each image for the reference with which it correlates best: grey scales do not matter."""
        nothing = torch.zeros_like(weighted.power)
        cross = score_many(self.maps, matrices, weighted.cross, nothing, self.pixels)
        power = -score_many(self.maps, matrices, torch.zeros_like(weighted.cross), weighted.power, self.pixels)
        score = combine(cross[:, None], power, cross_correlation=True)[:, 0]
        if weighted.confined_to is not None:
            score = score.masked_fill(self._others(weighted.confined_to), -torch.inf)
        shares = torch.zeros_like(score)
        shares[torch.arange(len(score), device=score.device), score.argmax(1)] = 1
        return FixedPosterior(shares, shares, torch.zeros_like(score[:, 0]), matrices)

    def _others(self, to: Tensor) -> Tensor:
        """(b, references) whether an image confined `to` (b,) leaves a reference out."""
        return torch.arange(self.maps.n_maps, device=to.device) != to[:, None]

    def back_project(self, block: Block, posterior: FixedPosterior, sums: InterleavedSums) -> tuple[Tensor, Tensor]:
        """Insert the images into `sums` (in place) and predict each of them from the model.

        Returns
        -------
        mean, square: (b, 2, n) sum_k share P_k, and (b, n) sum_k share |P_k|^2.
        """
        image = block.images.unmasked * block.data_factor[:, None]
        power = block.data_factor * block.scale[:, None] * block.transfer
        insert_many(sums, posterior.matrices, image, power, posterior.kept, self.pixels)
        return predict_many(self.maps, posterior.matrices, posterior.kept, self.pixels, image.shape[-1])
