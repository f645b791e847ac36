"""The U-net on whitened Wiener maps: the noise is damped before it looks, and every resolution counts alike.

A half-map's coarsest shells are a thousand times stronger than its finest, and most of the work of a denoiser is the
Wiener filter. A small network that has to learn both spends its training there. So it is given the Wiener map, each
shell divided by the half-map's own amplitude, and says what to change. What it says counts band by band as far as
there is something to gain: not where a band is free of noise, nor where it is nothing else. A network that has learned
nothing about noise returns the Wiener map.

It also says where the particle is. What lies outside is taken away band by band, as far as that band has signal and
noise at all, so that the mask comes in with the resolution, carries no strong shell into one without signal, and leaves
a map without noise as it is. It may be wrong about a micelle: where the half's own map stands out of the solvent at
15 Å, resolutions below that stay. All of this each half does from its own map.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from blush.denoise.apply import Plan, Precision, on_model_grid
from blush.denoise.local_wiener import band_filters, band_weights, freedom
from blush.fourier.filter import low_pass, multiply_shells, resize_volume
from blush.fourier.fsc import power_spectrum
from blush.fourier.mask import auto_mask

TRUSTED_TO, MEASURED_FROM = 0.3, 0.9
"""Wiener weights of a band up to which the network is believed, and from which on the half-map alone is.

It learns on a wider range (`local_wiener.freedom`). What it changes alike in both halves is a bias that no FSC between
them shows; the better a band is measured, the less such a change can gain.
"""
MASKED_TO, UNMASKED_FROM = 0.95, 0.98
"""Wiener weights of a band up to which all outside the particle is taken away, and from which on nothing is."""
MICELLE_ANGST = 15.0
"""Resolution up to which density that stands out of the solvent is kept, wherever the network sees the particle."""
LEAST_POWER = 1e-8
"""Of the strongest shell: shells with less are beyond the images that were aligned, and hold nothing."""


def whitening(half: Tensor, sphere: Tensor) -> Tensor:
    """What each shell of a half-map is multiplied by to have the power of the others: (N / 2 + 1,) float64, mean 1.

    Parameters
    ----------
    half
        (N, N, N) unregularised.
    sphere
        (N, N, N) mask of the particle's sphere.

    Returns
    -------
    The inverse root of the power in the sphere; 0 for a shell without any. The mean counts as the first shell.
    """
    power = power_spectrum(half * sphere)
    power[0] = power[1]
    factor = torch.where(power > LEAST_POWER * power.max(), power, torch.inf).rsqrt()
    return factor / factor.mean()


def trust(weights: Tensor) -> Tensor:
    """How far the network is believed in bands of these mean Wiener weights, in [0, 1]."""
    return freedom(weights, TRUSTED_TO, MEASURED_FROM)


def believed(filters: Tensor, share: Tensor) -> Tensor:
    """Sum of F_k² c_k, c_k how far a band is the network's: (..., N, N, N / 2 + 1).

    Parameters
    ----------
    filters
        (BANDS, N, N, N / 2 + 1) F_k.
    share
        (..., BANDS) c_k.
    """
    return torch.einsum("...k,kzyx->...zyx", share, filters.square())


def denoise_whitened(
    network: nn.Module,
    half: Tensor,
    wiener: Tensor,
    fsc: Tensor,
    plan: Plan,
    *,
    batch: int = 4,
    precision: Precision = "auto",
    masked: bool = True,
) -> Tensor:
    """A Wiener map with what the network changes in it.

    Parameters
    ----------
    network
        `UNet3d` in eval mode, trained on whitened maps.
    half, wiener
        (N, N, N): a half-map without and with the Wiener filter.
    fsc
        (N / 2 + 1,) between the halves.
    masked
        Take away what lies outside the particle as the network sees it in this half.

    Returns
    -------
    (N, N, N). Frequencies beyond the network's Nyquist are those of the Wiener map.

    Raises
    ------
    ValueError
        If a map has another box than the plan, is constant, or holds values that are not finite.
    """
    if half.shape != (plan.box_px,) * 3 or wiener.shape != half.shape:
        raise ValueError(f"maps have shapes {tuple(half.shape)}, {tuple(wiener.shape)}, not {plan.box_px} px")
    n, voxel = plan.model_box_px, plan.voxel_size_angst
    coarse_half, coarse = (resize_volume(v, plan.pixel_size_angst, n, voxel).float() for v in (half, wiener))
    mask = plan.mask.to(coarse)
    factor = whitening(coarse_half, mask)
    white = multiply_shells(coarse, factor)
    change, particle = on_model_grid(network, white, plan, batch, precision, change=True)
    filters = band_filters(n, voxel, coarse.device)
    weights = band_weights(fsc.to(coarse), filters)
    change = _filtered(change, believed(filters, trust(weights)))
    added = multiply_shells(change, torch.where(factor > 0, 1 / factor, 0))
    if masked:
        outside = solvent(coarse + added, particle, plan)
        added = added - _filtered(outside, believed(filters, freedom(weights, MASKED_TO, UNMASKED_FROM)))
    return wiener + resize_volume(added.to(wiener), voxel, plan.box_px, plan.pixel_size_angst)


def solvent(volume: Tensor, particle: Tensor, plan: Plan) -> Tensor:
    """What lies outside the particle, less the low resolutions of what stands out of the solvent: (N', N', N').

    Parameters
    ----------
    volume
        (N', N', N') map of one half.
    particle
        (N', N', N') in [0, 1], where the network sees it in that map.
    """
    stands_out = auto_mask(volume, plan.voxel_size_angst, 2 * plan.radius_angst, MICELLE_ANGST)
    return (1 - particle) * (volume - low_pass(stands_out * volume, MICELLE_ANGST, plan.voxel_size_angst))


def _filtered(volume: Tensor, gain: Tensor) -> Tensor:
    return torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=volume.shape)
