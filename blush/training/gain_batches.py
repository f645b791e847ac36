"""Half-maps and truths to learn the gains of the local Wiener filter from: whole particles, both halves of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from blush.denoise.local_wiener import band_filters, bands, gains, padded, seen
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
    sphere
        (b, n, n, n).
    """

    features: Tensor
    parts: Tensor
    target: Tensor
    weights: Tensor
    sphere: Tensor


class GainMaker(BatchMaker):
    """Makes the batch of any step; a step of b patches has 2 b half-maps."""

    def halves(self, step: int, side_px: int, patches: Sequence[int]) -> GainBatch:
        """Half-maps of a step, by the numbers of their particles in it."""
        made: list[GainBatch] = []
        for patch in patches:
            random = generator(self.seed, step, patch)
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
            made.append(self._seen(*make(drawn, loaded, side_px)))
        return GainBatch(*(torch.cat([getattr(one, name) for one in made]) for name in GainBatch.__annotations__))

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
        """Halves of an entry that has them, and their truth; without a truth each half is the other's."""
        positions = patch_positions(d, side_px, loaded.maps.device)
        found = sample(loaded.maps, positions[None], side_px)[:, 0]
        halves = found[[loaded.channel("half1"), loaded.channel("half2")]]
        if "truth" not in loaded.entry.channels:
            raise ValueError(f"{loaded.entry.name} has no truth to learn gains from")
        truth, mask = found[loaded.channel("truth")], found[loaded.channel("mask")].clamp(0, 1)
        return halves, truth, mask, sphere(d, loaded, positions, side_px)

    def _seen(self, halves: Tensor, truth: Tensor, mask: Tensor, ball: Tensor) -> GainBatch:
        """Features and bands of both halves."""
        curve = torch.nan_to_num(fsc(halves[0] * mask, halves[1] * mask)).clamp(0, MOST_FSC).float()
        every = (slice(None, None, 2),) * 3
        filters = band_filters(truth.shape[-1], self.voxel_size_angst, truth.device)
        target = bands(truth, filters)[:, *every]
        made = [
            seen(half, multiply_shells(half, curve), curve, ball, self.voxel_size_angst) for half in halves.unbind(0)
        ]
        return GainBatch(
            features=torch.stack([one.features for one in made]),
            parts=torch.stack([one.parts[:, *every] for one in made]),
            target=torch.stack([target, target]),
            weights=torch.stack([one.weights for one in made]),
            sphere=torch.stack([ball[every]] * 2),
        )


def gain_loss(network: nn.Module, batch: GainBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Squared error of each band over that of the Wiener map, in the particle's sphere; below 1 is better than Wiener.

    Bands count by the root of their Wiener weight, so that those without signal hardly do.

    Returns
    -------
    Loss; the same, without gradient; 0.
    """
    side = batch.features.shape[-1]
    q = network(padded(batch.features))[..., :side, :side, :side]
    inside = batch.sphere[:, None]
    made = gains(q, batch.weights) * batch.parts
    error = ((made - batch.target).square() * inside).sum((2, 3, 4))
    before = ((batch.parts - batch.target).square() * inside).sum((2, 3, 4)).clamp_min(SMALLEST)
    count = batch.weights.sqrt()
    loss = ((error / before) * count).sum() / count.sum()
    return loss, loss.detach(), torch.zeros_like(loss.detach())
