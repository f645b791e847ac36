"""Half-maps as refinement leaves them, from noise-free maps: misalignment, coloured noise, missing views, streaks.

Signal: the truth under errors of pose (part of them common to both halves, which no pair of half-maps can tell from
structure) and a B-factor. Noise: power that rises with frequency, over the coverage of Fourier space, stronger on the
central slices of overfitted images and towards the particle's centre; its level puts FSC = 1/7 at a drawn resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from blush.training import spectra
from blush.training.draws import Draw, draw
from blush.training.library import Loaded, sharpened
from blush.training.sampling import bulge, patch_positions, turned_halves, white
from blush.training.spectra import Frequencies
from blush.training.store import Entry

NOISE_OVER_SIGNAL = 6.0
"""Of the power of one half-map, where FSC = S / (S + N) is 1/7."""


def noise_amplitude(grid: Frequencies, draws: Sequence[Draw], loaded: Sequence[Loaded]) -> Tensor:
    """Square root of the noise's power: (b, s, s, s / 2 + 1)."""
    powers, corners = [d.noise_power for d in draws], [d.noise_corner for d in draws]
    levels = []
    for d, entry in zip(draws, loaded, strict=True):
        frequency = 1 / d.resolution_angst
        signal = spectra.at_frequency(entry.signal, frequency, entry.entry.box_px, grid.voxel_size_angst)
        signal *= float(np.exp(-d.bfactor_angst2 / 2 * frequency**2))
        at_d = (0.05 + (frequency / d.noise_corner) ** d.noise_power) * (1 + (d.noise_rise / frequency) ** 2)
        levels.append(NOISE_OVER_SIGNAL * signal / at_d)
    power = spectra.coloured(grid, powers, corners)
    power = power * spectra.low_rise(grid, [d.noise_rise for d in draws])
    if any(d.coverage_depth for d in draws):
        axes = torch.tensor(np.array([d.coverage_axis for d in draws]), dtype=torch.float32, device=power.device)
        depth, narrow = [d.coverage_depth for d in draws], [d.coverage_narrow for d in draws]
        power = power / spectra.coverage(grid, axes, depth, narrow)
    if any(d.streak for d in draws):
        pattern = spectra.streaks(grid.side_px, str(power.device))[[d.streak_pattern for d in draws]]
        finest = spectra.per_patch([1 / d.resolution_angst**2 for d in draws], power)
        gain = spectra.per_patch([d.streak for d in draws], power) * (grid.squared > finest)
        power = power * (1 + gain * pattern)
    return (power * spectra.per_patch(levels, power)).sqrt()


def half_spectra(
    signals: Tensor, draws: Sequence[Draw], loaded: Sequence[Loaded], grid: Frequencies, factor: Tensor, noisy: int = 2
) -> tuple[Tensor, Tensor]:
    """Transforms of noisy halves, and of the noise-free signals.

    Parameters
    ----------
    signals
        (2, b, s, s, s).
    factor
        (b, s, s, s): what noise is multiplied by in real space.
    noisy
        1: noise for the first half alone.

    Returns
    -------
    (noisy, b, s, s, s / 2 + 1), and (2, b, s, s, s / 2 + 1).
    """
    side = grid.side_px
    cuts = spectra.per_patch([1 / d.cut_angst**2 if d.cut_angst else np.inf for d in draws], signals)
    seen = grid.squared <= cuts
    decay = spectra.bfactor(grid, [d.bfactor_angst2 for d in draws]) * seen
    clean = torch.fft.rfftn(signals, dim=(-3, -2, -1)) * decay
    values = torch.stack([white(d, noisy, side, signals.device) for d in draws], 1)
    amplitude = noise_amplitude(grid, draws, loaded)
    bulging = any(d.bulge for d in draws)
    noise = torch.fft.rfftn(values, dim=(-3, -2, -1)) * (amplitude if bulging else amplitude * seen)
    if bulging:
        noise = torch.fft.rfftn(torch.fft.irfftn(noise, s=(side,) * 3) * factor, dim=(-3, -2, -1)) * seen
    return noise.add_(clean[:noisy]), clean


def simulated_pair(
    truth: Tensor,
    mask: Tensor,
    voxel_size_angst: float,
    random: np.random.Generator,
    resolution_angst: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Two whole half-maps of a noise-free map, in its own frame.

    Parameters
    ----------
    truth, mask
        (N, N, N); the truth with a variance of 1 inside the mask.
    resolution_angst
        Where the FSC in the mask is about 1/7; None draws it as training does.

    Returns
    -------
    The two halves, and the noise-free signal of the second, (N, N, N) each.
    """
    box = truth.shape[-1]
    loaded = _loaded(truth.float(), mask.float())
    drawn = draw(random, 0, loaded, voxel_size_angst, 0.0)
    still = replace(
        drawn,
        rotation=np.eye(3),
        centre_px=np.zeros(3),
        scale=1.0,
        cut_angst=0.0,
        resolution_angst=resolution_angst or drawn.resolution_angst,
    )
    positions = patch_positions(still, box, truth.device)
    halves = turned_halves(loaded.maps, still, positions, box)[:2]
    grid = spectra.frequencies(box, voxel_size_angst, str(truth.device))
    factor = bulge(still, loaded, positions, box)[None]
    noisy, clean = half_spectra(torch.stack(halves)[:, None], [still], [loaded], grid, factor)
    maps = torch.fft.irfftn(torch.stack([noisy[0, 0], noisy[1, 0], clean[1, 0]]), s=(box,) * 3)
    return maps[0], maps[1], maps[2]


def _loaded(truth: Tensor, mask: Tensor) -> Loaded:
    """A map as a library holds it."""
    from blush.fourier.fsc import power_spectrum

    box = truth.shape[-1]
    inside = float(mask.mean().clamp_min(1e-4))
    signal = power_spectrum(truth) / (box**3 * inside)
    places = torch.nonzero(mask > 0.5).flip(-1).cpu().numpy() - box // 2
    radius = float(np.sqrt((places**2).sum(1).max())) if len(places) else box / 2
    entry = Entry("map", "", ("truth", "mask"), box, "map", "test", "simulated", "")
    return Loaded(entry, torch.stack([sharpened(truth), mask]), signal, torch.zeros_like(signal), radius, places)
