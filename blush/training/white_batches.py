"""Whitened Wiener maps and truths for the U-net of Blush: patches of whole particles, of both halves of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blush.denoise.apply import local_deviation
from blush.denoise.local_wiener import band_filters, band_weights, freedom
from blush.denoise.unet import denoise_patches
from blush.denoise.whitened import believed, whitening
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc, power_spectrum, shell_average
from blush.fourier.grid import shell_index_3d
from blush.training.draws import generator
from blush.training.gain_batches import MOST_FSC, SMALLEST, GainMaker
from blush.training.library import Loaded

WHOLE_PX = 72
"""Box of the particle that FSC and amplitudes are taken from, or the patch's own side if that is larger."""


@dataclass(frozen=True)
class WhiteBatch:
    """Patches of one step.

    Attributes
    ----------
    inputs
        (b, 2, s, s, s): a whitened Wiener map and its local standard deviation, both inside the particle's sphere.
    target
        (b, s, s, s): the truth at the scale of the whitened half-map, as strong in each shell as that holds it; of a
        pair without a truth the other half, whose noise is another.
    weights
        (b, BANDS) mean Wiener weights.
    mask
        (b, s, s, s) of the particle.
    """

    inputs: Tensor
    target: Tensor
    weights: Tensor
    mask: Tensor


class WhiteMaker(GainMaker):
    """Makes the batch of any step; a step of b particles has 2 b patches, the same place in both halves."""

    def patches(self, step: int, side_px: int, particles: Sequence[int]) -> WhiteBatch:
        """Patches of a step, by the numbers of their particles in it."""
        made = [self._patch_of_both(step, side_px, particle) for particle in particles]
        return WhiteBatch(*(torch.cat([getattr(one, name) for one in made]) for name in WhiteBatch.__annotations__))

    def _patch_of_both(self, step: int, side_px: int, particle: int) -> WhiteBatch:
        random = generator(self.seed, step, particle)
        whole = max(side_px, WHOLE_PX)
        halves, truth, mask, ball, before = self.particle(random, whole)
        z, y, x = _place(random, mask, side_px)
        cut = (..., z, y, x)
        curve = torch.nan_to_num(fsc(halves[0] * mask, halves[1] * mask)).clamp(0, MOST_FSC)
        weights = band_weights(curve, band_filters(whole, self.voxel_size_angst, halves.device))
        inputs, targets = [], []
        for half, wanted in zip(halves, truth.expand_as(halves), strict=True):
            factor = whitening(half, ball)
            white = multiply_shells(half, factor * curve)
            inputs.append(torch.stack([(white * ball)[cut], (local_deviation(white) * ball)[cut]]))
            kept = strength(half * mask, wanted * mask) if before else torch.ones_like(factor)
            targets.append((multiply_shells(wanted, factor * kept) * ball)[cut])
        both = torch.stack([mask[cut]] * 2)
        return WhiteBatch(torch.stack(inputs), torch.stack(targets), torch.stack([weights] * 2), both)

    def _without_truth(self, loaded: Loaded, halves: Tensor) -> Tensor:
        """Each half's target is the other half (noise2noise)."""
        return halves.flip(0)


def _place(random: np.random.Generator, mask: Tensor, side_px: int) -> tuple[slice, slice, slice]:
    """Where a patch lies, z y x: some voxel of the particle is somewhere in it."""
    voxels = torch.nonzero(mask > 0.5)
    middle = torch.full((1, 3), len(mask) // 2)
    voxel = (voxels if len(voxels) else middle)[int(random.integers(max(1, len(voxels))))].cpu().numpy()
    z, y, x = (voxel - random.integers(0, side_px, 3)).clip(0, len(mask) - side_px).tolist()
    return slice(z, z + side_px), slice(y, y + side_px), slice(x, x + side_px)


def strength(half: Tensor, truth: Tensor) -> Tensor:
    """How much of the truth a map still holds, shell by shell: (N / 2 + 1,) float64 in [0, 1].

    Re sum of H T* over the sum of |T|².
    """
    box = half.shape[-1]
    shell = shell_index_3d(box, half.device)
    held, given = torch.fft.rfftn(half), torch.fft.rfftn(truth)
    cross = shell_average((held * given.conj()).real, shell, box // 2 + 1)
    return (cross / power_spectrum(truth).clamp_min(SMALLEST)).clamp(0, 1)


def white_loss(
    network: nn.Module, batch: WhiteBatch, voxel_size_angst: float, mask_weight: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of each band over that of the Wiener map in the true mask, plus the mask's cross-entropy.

    As `gain_loss`: below 1 where the result is better than Wiener and mask; bands count by the root of their Wiener
    weight.

    Returns
    -------
    Loss; its first part, and cross-entropy of the mask, without gradient.
    """
    given = batch.inputs[:, 0]
    denoised, logit = denoise_patches(network, batch.inputs)
    filters = band_filters(given.shape[-1], voxel_size_angst, given.device)
    change, off, off_masked = torch.fft.rfftn(
        torch.stack([denoised[:, 0] - given, given - batch.target, given * batch.mask - batch.target]),
        dim=(-3, -2, -1),
    )
    error = _band_power(off + believed(filters, freedom(batch.weights)) * change, filters)
    before = _band_power(off_masked, filters).clamp_min(SMALLEST)
    count = batch.weights.sqrt()
    ratio = ((error / before) * count).sum() / count.sum()
    mask_loss = binary_cross_entropy_with_logits(logit[:, 0], batch.mask)
    return ratio + mask_weight * mask_loss, ratio.detach(), mask_loss.detach()


def _band_power(spectra: Tensor, filters: Tensor) -> Tensor:
    """Power of (b, s, s, s / 2 + 1) transforms in each band: (b, BANDS)."""
    twice = torch.full(filters.shape[-1:], 2.0, device=filters.device)
    twice[0] = twice[-1] = 1.0
    return torch.einsum("bzyx,kzyx->bk", spectra.abs().square(), filters.square() * twice)
