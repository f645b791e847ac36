"""Batches of patches: input of the network, target, and masks (Kimanius et al. 2024, eq. 1 to 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.denoise.apply import local_deviation
from blush.training import spectra
from blush.training.draws import Draw, draw, generator
from blush.training.library import Library, Loaded
from blush.training.sampling import bulge, patch_positions, sample, sphere, turned_halves, white
from blush.training.spectra import Frequencies
from blush.training.synthesis import half_spectra

MARGIN_PX = 10
"""Voxels around a patch that are made and thrown away: reach of the local deviation, and of the filters."""
OUTSIDE_ANGST = 15.0
"""Low-pass of what lies outside a pair's mask."""


@dataclass(frozen=True)
class Batch:
    """Patches of one step.

    Attributes
    ----------
    inputs
        (b, 2, s, s, s): a filtered half-map and its local standard deviation, both inside the particle's sphere.
    target
        (b, s, s, s): the other half, or the noise-free map, at the scale of the input.
    mask
        (b, s, s, s) in [0, 1].
    seen
        (b, s, s, s): the particle's sphere.
    other
        (b, s, s, s): the other half with its noise, filtered as the input, for crefDenoiser's loss; else None.
    """

    inputs: Tensor
    target: Tensor
    mask: Tensor
    seen: Tensor
    other: Tensor | None = None


class BatchMaker:
    """Makes the batch of any step, the same one whenever it is asked.

    Parameters
    ----------
    simulated, pairs
        Entries with a truth only, and entries with two halves; either may be empty.
    simulated_share
        Share of the patches, where there are both.
    noise2noise_share
        Share of the patches with a known truth: those whose target is the other half instead.
    both
        Whether batches hold the other half too.
    """

    def __init__(
        self,
        simulated: Library | None,
        pairs: Library | None,
        *,
        voxel_size_angst: float,
        seed: int,
        simulated_share: float = 0.5,
        noise2noise_share: float = 0.1,
        both: bool = False,
    ) -> None:
        if simulated is None and pairs is None:
            raise ValueError("there are no maps to train on")
        self.simulated, self.pairs = simulated, pairs
        self.voxel_size_angst, self.seed = voxel_size_angst, seed
        self.simulated_share = 1.0 if pairs is None else 0.0 if simulated is None else simulated_share
        self.noise2noise_share, self.both = noise2noise_share, both
        self._chances = {id(lib): _chances(lib) for lib in (simulated, pairs) if lib is not None}

    def __call__(self, step: int, side_px: int, patches: Sequence[int]) -> Batch:
        """Patches of a step, by their numbers in it."""
        made: list[Batch] = []
        drawn: dict[int, list[tuple[Draw, Loaded]]] = {0: [], 1: []}
        for patch in patches:
            random = generator(self.seed, step, patch)
            kind = int(random.random() >= self.simulated_share)
            library = self.pairs if kind else self.simulated
            assert library is not None
            entry = int(random.choice(len(library.entries), p=self._chances[id(library)]))
            loaded = library[entry]
            drawn[kind].append((draw(random, entry, loaded, self.voxel_size_angst, self.noise2noise_share), loaded))
        for kind, make in ((0, self._simulated), (1, self._paired)):
            if drawn[kind]:
                draws, entries = zip(*drawn[kind], strict=True)
                made.append(make(draws, entries, side_px))
        return joined(made)

    def _simulated(self, draws: Sequence[Draw], loaded: Sequence[Loaded], side_px: int) -> Batch:
        wide = side_px + 2 * MARGIN_PX
        device = loaded[0].maps.device
        grid = spectra.frequencies(wide, self.voxel_size_angst, str(device))
        signals, masks, spheres, factors = [], [], [], []
        for d, entry in zip(draws, loaded, strict=True):
            positions = patch_positions(d, wide, device)
            first, second, mask = turned_halves(entry.maps, d, positions, wide)
            signals.append(torch.stack([first, second]))
            masks.append(mask)
            spheres.append(sphere(d, entry, positions, wide))
            factors.append(bulge(d, entry, positions, wide))
        real = [d.noisy_target for d in draws]
        count = 2 if self.both or any(real) else 1
        noisy, clean = half_spectra(torch.stack(signals, 1), draws, loaded, grid, torch.stack(factors), count)
        wanted = torch.where(_flags(real, clean), noisy[1], clean[1]) if any(real) else clean[1]
        return self._finished(noisy, wanted, draws, grid, torch.stack(masks), torch.stack(spheres))

    def _paired(self, draws: Sequence[Draw], loaded: Sequence[Loaded], side_px: int) -> Batch:
        wide = side_px + 2 * MARGIN_PX
        device = loaded[0].maps.device
        grid = spectra.frequencies(wide, self.voxel_size_angst, str(device))
        halves, wanted, masks, spheres = [], [], [], []
        for d, entry in zip(draws, loaded, strict=True):
            positions = patch_positions(d, wide, device)
            found = sample(entry.maps, positions[None], wide)[:, 0]
            pair = found[[entry.channel("half2"), entry.channel("half1")] if d.swap else [0, 1]]
            mask = found[entry.channel("mask")]
            has_truth = "truth" in entry.entry.channels and not d.noisy_target
            halves.append(_with_noise(pair, d, entry, grid))
            wanted.append(_outside_low_passed(found[entry.channel("truth")] if has_truth else pair[1], mask, grid))
            masks.append(mask)
            spheres.append(sphere(d, entry, positions, wide))
        noisy = torch.fft.rfftn(torch.stack(halves, 1), dim=(-3, -2, -1))
        target = torch.fft.rfftn(torch.stack(wanted), dim=(-3, -2, -1))
        return self._finished(noisy, target, draws, grid, torch.stack(masks), torch.stack(spheres))

    def _finished(
        self,
        noisy: Tensor,
        wanted: Tensor,
        draws: Sequence[Draw],
        grid: Frequencies,
        masks: Tensor,
        spheres: Tensor,
    ) -> Batch:
        """Filter transforms of two halves and of the target, and cut the margin off."""
        axes = torch.tensor(np.array([d.blur_axis for d in draws]), dtype=torch.float32, device=masks.device)
        widths = [d.blur_angst for d in draws]
        blur = spectra.gaussian(grid, widths, axes, [d.blur_ratio for d in draws])
        less = spectra.gaussian(grid, widths, axes, [d.target_ratio for d in draws])
        maps = [noisy[0] * blur, wanted * less, *([noisy[1] * blur] if self.both else [])]
        half, target, *others = torch.fft.irfftn(torch.stack(maps), s=(grid.side_px,) * 3)
        deviation = local_deviation(half)
        core = slice(MARGIN_PX, grid.side_px - MARGIN_PX)
        cut = (..., core, core, core)
        seen = spheres[cut]
        inputs = torch.stack([half[cut] * seen, deviation[cut] * seen], 1)
        other = others[0][cut] * seen if others else None
        return Batch(inputs, target[cut] * seen, masks[cut].clamp(0, 1), seen, other)


def _chances(library: Library) -> np.ndarray:
    """Chance of each entry: every group has the same, weighed by its asymmetric units, and shares it among its own."""
    total: dict[str, float] = {}
    for entry in library.entries:
        total[entry.group] = total.get(entry.group, 0.0) + 1
    chance = np.array([entry.weight / total[entry.group] for entry in library.entries])
    return chance / chance.sum()


def _flags(values: Sequence[bool], like: Tensor) -> Tensor:
    return torch.tensor(values, device=like.device)[:, None, None, None]


def _with_noise(pair: Tensor, d: Draw, entry: Loaded, grid: Frequencies) -> Tensor:
    """Both halves with more noise, coloured, each its own: (2, s, s, s)."""
    if d.extra_noise == 0:
        return pair
    power = spectra.coloured(grid, [d.noise_power], [d.noise_corner])[0]
    level = d.extra_noise * float(entry.noise[1:].mean()) / power.mean()
    noise = torch.fft.rfftn(white(d, 2, grid.side_px, pair.device), dim=(-3, -2, -1)) * (power * level).sqrt()
    return pair + torch.fft.irfftn(noise, s=(grid.side_px,) * 3)


def _outside_low_passed(values: Tensor, mask: Tensor, grid: Frequencies) -> Tensor:
    """Low resolution alone outside the mask, x M + h(x) (1 - M) (eq. 2)."""
    smooth = torch.exp(-spectra.SEVENTH * OUTSIDE_ANGST**2 * grid.squared)
    low = torch.fft.irfftn(torch.fft.rfftn(values) * smooth, s=values.shape)
    return values * mask + low * (1 - mask)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch of several."""
    if len(batches) == 1:
        return batches[0]
    parts = [(b.inputs, b.target, b.mask, b.seen) for b in batches]
    others = [b.other for b in batches if b.other is not None]
    inputs, target, mask, seen = (torch.cat(same) for same in zip(*parts, strict=True))
    return Batch(inputs, target, mask, seen, torch.cat(others) if others else None)
