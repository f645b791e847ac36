"""One pair of half-maps of all bodies: at every place and in every band of frequencies by what is known there.

A voxel of the combination is a mean of the bodies' half-maps. Weights are the soft masks times the signal-to-noise
ratio of each body in a band of shells, and add up to 1; where no mask reaches, the half-maps of the consensus stand.
Both halves have the same weights.

Where masks meet, and at their edges, both halves are cut alike, which correlates them without any signal. So the FSC of
the combination is corrected by combining halves whose phases were randomised for each body before anything was cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.bodies.placing import Pose, placed
from blush.fourier.fsc import fsc, last_shell_above, shell_average
from blush.fourier.grid import radius_3d, shell_index_3d
from blush.validate.phase_randomise import MaskedFsc, correct, randomise_phases

_BANDS = 8
_LEAST_SIGNAL = 0.05
_RANDOMISED_BELOW = 0.8
"""Unmasked FSC from which on phases are randomised."""


@dataclass(frozen=True)
class Part:
    """A body that is combined: maps re-centred, with the pose that puts them into the molecule.

    Attributes
    ----------
    halves
        (N, N, N) unfiltered half-maps.
    mask
        (N, N, N) from 0 to 1.
    """

    halves: tuple[Tensor, Tensor]
    mask: Tensor
    pose: Pose


@dataclass(frozen=True)
class Combined:
    """Half-maps of all bodies.

    Attributes
    ----------
    halves
        (N, N, N) each.
    mask
        (N, N, N): all bodies, from 0 to 1.
    curves
        FSC in that mask, corrected for the masks of the bodies and their seams.
    """

    halves: tuple[Tensor, Tensor]
    mask: Tensor
    curves: MaskedFsc


def combine(parts: list[Part], consensus: tuple[Tensor, Tensor], pixel_size_angst: float, seed: int) -> Combined:
    """Half-maps of all bodies in one molecule.

    Parameters
    ----------
    consensus
        (N, N, N) half-maps in the frame of the molecule, of which what lies in no mask is taken.
    seed
        That of random phases.

    References
    ----------
    Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004 (random phases).
    """
    masks = [placed(part.mask, part.pose, pixel_size_angst).clamp(0, 1) for part in parts]
    ratio = _signal_to_noise(parts)
    box = masks[0].shape[-1]
    bands = _bands(box)
    inside = torch.stack(masks).sum(0).clamp_max(1)
    weights = [_weights(masks, inside, power) for power in _by_band(ratio, bands)]
    start = min(last_shell_above(fsc(*part.halves), _RANDOMISED_BELOW) for part in parts) + 1
    made: list[Tensor] = []
    unreal: list[Tensor] = []
    for half in (0, 1):
        for out, draws in ((made, False), (unreal, True)):
            generator = torch.Generator().manual_seed(2 * seed + half)
            maps = [part.halves[half] for part in parts]
            rest = consensus[half]
            if draws:
                *maps, rest = [randomise_phases(one, start, generator) for one in (*maps, rest)]
            at = [placed(one, part.pose, pixel_size_angst) for one, part in zip(maps, parts, strict=True)]
            out.append(_sum_of_bands(at, weights, bands) + (1 - inside) * rest)
    masked = fsc(made[0] * inside, made[1] * inside)
    randomised = fsc(unreal[0] * inside, unreal[1] * inside)
    unmasked = fsc(made[0], made[1])
    if start > box // 2:
        curves = MaskedFsc(unmasked, masked, torch.ones_like(masked), unmasked.clone(), None)
    else:
        curves = MaskedFsc(unmasked, masked, randomised, correct(masked, randomised, start), start)
    return Combined((made[0], made[1]), inside, curves)


def _signal_to_noise(parts: list[Part]) -> Tensor:
    """(b, N // 2 + 1) signal of each body over its noise, by shell, in its mask.

    Signal counts as `_LEAST_SIGNAL` of the mean noise at least: where there is none, the body of less noise counts
    more.
    """
    shell, n = shell_index_3d(parts[0].mask.shape[-1]), parts[0].mask.shape[-1] // 2 + 1
    signals, noises = [], []
    for part in parts:
        first, second = (torch.fft.rfftn(half * part.mask) for half in part.halves)
        volume = part.mask.double().square().mean()
        signals.append(shell_average((first * second.conj()).real, shell, n) / volume)
        noises.append(shell_average((first - second).abs().square(), shell, n) / (2 * volume))
    signal, noise = torch.stack(signals).clamp_min(0), torch.stack(noises)
    noise = noise.clamp_min(1e-12 * float(noise.max()))
    return (signal + _LEAST_SIGNAL * noise.mean(0)) / noise


def _bands(box: int) -> Tensor:
    """(k, N, N, N // 2 + 1) weights that add up to 1: triangles over the shells, the last one open to the corners."""
    radius = radius_3d(box).float()
    middle = torch.linspace(0, box / 2, _BANDS)
    step = float(middle[1])
    bands = (1 - (radius.clamp_max(box / 2) - middle[:, None, None, None]).abs() / step).clamp_min(0)
    return bands / bands.sum(0)


def _by_band(ratio: Tensor, bands: Tensor) -> Tensor:
    """(k, b) mean of what is known by shell (b, N // 2 + 1) over each band."""
    shells = torch.arange(ratio.shape[1])
    along_x = bands[:, 0, 0, : len(shells)].to(ratio)  # the band of shell s is that of the frequency (s, 0, 0)
    return along_x @ ratio.T / along_x.sum(1, keepdim=True)


def _weights(masks: list[Tensor], inside: Tensor, power: Tensor) -> list[Tensor]:
    """Weights of the bodies in one band: they add up to `inside`."""
    weighed = [mask * float(value) for mask, value in zip(masks, power, strict=True)]
    total = torch.stack(weighed).sum(0)
    return [inside * one / total.clamp_min(1e-12) for one in weighed]


def _sum_of_bands(maps: list[Tensor], weights: list[list[Tensor]], bands: Tensor) -> Tensor:
    """Sum over bands and bodies of weight times the band of the map."""
    total = torch.zeros_like(maps[0])
    for b, volume in enumerate(maps):
        spectrum = torch.fft.rfftn(volume)
        for band, weight in zip(bands, weights, strict=True):
            total += weight[b] * torch.fft.irfftn(spectrum * band, s=volume.shape)
    return total
