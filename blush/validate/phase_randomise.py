"""FSC inside a mask, corrected for what the mask itself correlates, by randomising phases.

A mask multiplies both halves alike, so their transforms share its blur and correlate without sharing any signal.
How much is measured on halves whose phases were drawn at random from some shell on, and taken off.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.fsc import fsc, last_shell_above
from blush.fourier.grid import radius_3d
from blush.io.upload import uploaded

SPARED_SHELLS = 2
"""Shells from the first randomised one on that keep the masked FSC: the mask blurs signal into them."""


@dataclass(frozen=True)
class MaskedFsc:
    """FSC curves of one pair of half-maps, (N // 2 + 1,) float64 each.

    Attributes
    ----------
    randomised
        That of phase-randomised halves in the same mask; 1 in every shell where no shell was randomised.
    corrected
        Estimate of the FSC of the density inside the mask.
    randomise_from
        First shell whose phases were randomised; None where the unmasked FSC never falls that far, and then
        `corrected` is the unmasked FSC.
    """

    unmasked: Tensor
    masked: Tensor
    randomised: Tensor
    corrected: Tensor
    randomise_from: int | None


def randomise_phases(volume: Tensor, from_shell: float, generator: torch.Generator) -> Tensor:
    """Replace the phases at |k| >= `from_shell` by those of white noise, which are uniform and independent.

    Parameters
    ----------
    volume
        (N, N, N) real.
    generator
        On the CPU, so that every device draws the same phases.
    """
    noise = uploaded(torch.randn(volume.shape, generator=generator, dtype=volume.dtype), volume.device)
    random, spectrum = torch.fft.rfftn(noise), torch.fft.rfftn(volume)
    turned = torch.polar(spectrum.abs(), random.angle())
    kept = radius_3d(volume.shape[-1], volume.device) < from_shell
    return torch.fft.irfftn(torch.where(kept, spectrum, turned), s=volume.shape)


def masked_fsc(
    half1: Tensor,
    half2: Tensor,
    mask: Tensor,
    seed: int,
    randomise_from_fsc: float = 0.8,
    randomise_from: int | None = None,
) -> MaskedFsc:
    """Unmasked, masked, phase-randomised and corrected FSC of two half-maps.

    Parameters
    ----------
    half1, half2, mask
        (N, N, N) real; the maps unfiltered, the mask in [0, 1].
    seed
        That of the random phases.
    randomise_from_fsc
        Phases are randomised from the first shell whose unmasked FSC is below this.
    randomise_from
        That shell, where it is known otherwise.

    References
    ----------
    Chen et al. 2013, doi:10.1016/j.ultramic.2013.06.004
    """
    unmasked, masked = fsc(half1, half2), fsc(half1 * mask, half2 * mask)
    if randomise_from is None:
        randomise_from = last_shell_above(unmasked, randomise_from_fsc) + 1
    if randomise_from >= len(unmasked):
        return MaskedFsc(unmasked, masked, torch.ones_like(masked), unmasked.clone(), None)
    generator = torch.Generator().manual_seed(seed)
    first, second = (randomise_phases(half, randomise_from, generator) * mask for half in (half1, half2))
    randomised = fsc(first, second)
    return MaskedFsc(unmasked, masked, randomised, correct(masked, randomised, randomise_from), randomise_from)


def correct(masked: Tensor, randomised: Tensor, randomise_from: int) -> Tensor:
    """(masked - randomised) / (1 - randomised) from `SPARED_SHELLS` beyond the first randomised shell on."""
    corrected = (masked - randomised) / (1 - randomised).clamp_min(torch.finfo(masked.dtype).tiny)
    spared = torch.arange(masked.shape[-1], device=masked.device) < randomise_from + SPARED_SHELLS
    return torch.where(spared, masked, corrected)


def solvent_corrected_fsc(
    half1: Tensor, half2: Tensor, mask: Tensor, seed: int, clamp: bool = True, randomise_from_fsc: float = 0.8
) -> Tensor:
    """FSC that drives a refinement: that of `masked_fsc`, set to 0 where the randomised FSC exceeds the masked one.

    Parameters
    ----------
    clamp
        Whether shells in which the mask explains everything become 0 instead of negative
            (docs/algorithm.md, section 5).

    Returns
    -------
    (N // 2 + 1,) float64; the unmasked FSC where that never falls below `randomise_from_fsc`.
    """
    curves = masked_fsc(half1, half2, mask, seed, randomise_from_fsc)
    if not clamp or curves.randomise_from is None:
        return curves.corrected
    explained = curves.randomised > curves.masked
    explained[: curves.randomise_from + SPARED_SHELLS] = False
    return torch.where(explained, 0.0, curves.corrected)
