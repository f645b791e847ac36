"""Half-maps and truths to learn the gains of the local Wiener filter from: whole particles, both halves of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from blush.denoise.local_wiener import band_filters, bands, joined, local_power, scaled, seen
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc
from blush.training import spectra
from blush.training.batches import BatchMaker
from blush.training.draws import Draw, draw, generator
from blush.training.library import Loaded
from blush.training.sampling import bulge, patch_positions, sample, sphere, turned_halves
from blush.training.synthesis import half_spectra

JITTER_PX = 3.0
MOST_FSC = 0.999
DENOISED_SHARE = 0.25
"""Of the particles: those whose halves have been through a local filter before. The network has to leave them alone."""
MOST_PASSES = 4
LEAST_OVER, MOST_OVER = 0.3, 3.0
"""Noise as that filter takes it, over what there is."""
SMALLEST = 1e-12


@dataclass(frozen=True)
class GainBatch:
    """Half-maps of one step, on every second voxel.

    Attributes
    ----------
    features
        (b, FEATURES, n, n, n).
    parts, target
        (b, BANDS, n, n, n): bands of the Wiener map and of the truth.
    weights
        (b, BANDS).
    mask
        (b, n, n, n) of the particle.
    sphere
        (b, n, n, n).
    """

    features: Tensor
    parts: Tensor
    target: Tensor
    weights: Tensor
    mask: Tensor
    sphere: Tensor


class GainMaker(BatchMaker):
    """Makes the batch of any step; a step of b patches has 2 b half-maps."""

    def halves(self, step: int, side_px: int, patches: Sequence[int]) -> GainBatch:
        """Half-maps of a step, by the numbers of their particles in it."""
        made = [self._seen(*self.particle(generator(self.seed, step, patch), side_px)[:4]) for patch in patches]
        return GainBatch(*(torch.cat([getattr(one, name) for one in made]) for name in GainBatch.__annotations__))

    def particle(self, random: np.random.Generator, side_px: int) -> tuple[Tensor, Tensor, Tensor, Tensor, bool]:
        """Both halves (2, s, s, s) of a drawn particle, its truth, mask and sphere; whether it was denoised before.

        The truth is (s, s, s), or (2, s, s, s) where each half has a target of its own.
        """
        paired = random.random() >= self.simulated_share
        library = self.pairs if paired else self.simulated
        assert library is not None
        entry = int(random.choice(len(library.entries), p=self._chances[id(library)]))
        loaded = library[entry]
        drawn = draw(random, entry, loaded, self.voxel_size_angst, 0.0)
        centre = random.uniform(-JITTER_PX, JITTER_PX, 3)
        crystal = bool((drawn.centre_px == np.round(drawn.centre_px)).all())
        drawn = replace(drawn, centre_px=np.round(centre) if crystal else centre, sphere=drawn.sphere or 1.1)
        make = self._of_pair if paired else self._of_truth
        halves, truth, mask, ball = make(drawn, loaded, side_px)
        before = random.random() < DENOISED_SHARE and truth.dim() == 3
        if before:
            over = float(np.exp(random.uniform(np.log(LEAST_OVER), np.log(MOST_OVER))))
            passes = int(random.integers(1, MOST_PASSES + 1))
            halves = denoised_before(halves, truth, mask, self.voxel_size_angst, over, passes)
        return halves, truth, mask, ball, before

    def _of_truth(self, d: Draw, loaded: Loaded, side_px: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Simulated halves (2, s, s, s), the truth, its mask, and the sphere."""
        device = loaded.maps.device
        positions = patch_positions(d, side_px, device)
        first, second, mask = turned_halves(loaded.maps, d, positions, side_px)
        grid = spectra.frequencies(side_px, self.voxel_size_angst, str(device))
        factor = bulge(d, loaded, positions, side_px)[None]
        noisy, clean = half_spectra(torch.stack([first, second])[:, None], [d], [loaded], grid, factor)
        maps = torch.fft.irfftn(torch.cat([noisy[:, 0], clean[:, 0].mean(0)[None]]), s=(side_px,) * 3)
        return maps[:2], maps[2], mask.clamp(0, 1), sphere(d, loaded, positions, side_px)

    def _of_pair(self, d: Draw, loaded: Loaded, side_px: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Halves of an entry that has them, and their truth."""
        positions = patch_positions(d, side_px, loaded.maps.device)
        found = sample(loaded.maps, positions[None], side_px)[:, 0]
        halves = found[[loaded.channel("half1"), loaded.channel("half2")]]
        mask = found[loaded.channel("mask")].clamp(0, 1)
        truth = (
            found[loaded.channel("truth")] if "truth" in loaded.entry.channels else self._without_truth(loaded, halves)
        )
        return halves, truth, mask, sphere(d, loaded, positions, side_px)

    def _without_truth(self, loaded: Loaded, halves: Tensor) -> Tensor:
        """What is learned from a pair whose truth nobody knows."""
        raise ValueError(f"{loaded.entry.name} has no truth to learn gains from")

    def _seen(self, halves: Tensor, truth: Tensor, mask: Tensor, ball: Tensor) -> GainBatch:
        """Features and bands of both halves."""
        curve = torch.nan_to_num(fsc(halves[0] * mask, halves[1] * mask)).clamp(0, MOST_FSC).float()
        every = (slice(None, None, 2),) * 3
        filters = band_filters(truth.shape[-1], self.voxel_size_angst, truth.device)
        target = bands(truth, filters)[:, *every]
        made = [seen(half, curve, ball, self.voxel_size_angst) for half in halves.unbind(0)]
        filtered = [bands(multiply_shells(half, curve), filters)[:, *every] for half in halves.unbind(0)]
        return GainBatch(
            features=torch.stack([one.features for one in made]),
            parts=torch.stack(filtered),
            target=torch.stack([target, target]),
            weights=torch.stack([one.weights for one in made]),
            mask=torch.stack([mask[every]] * 2),
            sphere=torch.stack([ball[every]] * 2),
        )


def denoised_before(
    halves: Tensor, truth: Tensor, mask: Tensor, voxel_size_angst: float, over: float, passes: int = 1
) -> Tensor:
    """Halves after the local Wiener filter of one who knows the truth, in the mask, some passes of it.

    Parameters
    ----------
    halves
        (2, N, N, N).
    truth, mask
        (N, N, N).
    over
        What the noise is taken for, over what it is.
    """
    filters = band_filters(truth.shape[-1], voxel_size_angst, truth.device)
    signal = local_power(bands(truth, filters), voxel_size_angst)
    made = []
    for half in halves.unbind(0):
        noise = bands(half - truth, filters).square().mean((1, 2, 3), keepdim=True)
        gain = (signal / (signal + over * noise + SMALLEST)) ** passes
        made.append(joined(gain * bands(half, filters), filters) * mask)
    return torch.stack(made)


def gain_loss(network: nn.Module, batch: GainBatch, mask_weight: float) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of each band over that of the Wiener map in the true mask, plus the mask's cross-entropy.

    The first part is below 1 where the result is better than Wiener and mask, in the particle's sphere. Bands count by
    the root of their Wiener weight, so that those without signal hardly do.

    Returns
    -------
    Loss; its first part, and cross-entropy of the mask, without gradient.
    """
    gain, logit = scaled(network, batch.features, batch.weights)
    inside = batch.sphere[:, None]
    made = gain * batch.parts * torch.sigmoid(logit)[:, None]
    error = ((made - batch.target).square() * inside).sum((2, 3, 4))
    masked = batch.parts * batch.mask[:, None]
    before = ((masked - batch.target).square() * inside).sum((2, 3, 4)).clamp_min(SMALLEST)
    count = batch.weights.sqrt()
    ratio = ((error / before) * count).sum() / count.sum()
    mask_loss = binary_cross_entropy_with_logits(logit, batch.mask)
    return ratio + mask_weight * mask_loss, ratio.detach(), mask_loss.detach()
