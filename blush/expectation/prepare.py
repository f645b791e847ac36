"""From particle images to the packed, weighted transforms that are compared and back-projected."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.packed import Packed, shell_sums
from blush.fourier.shift import multiply, shift_whole_pixels

MASK_EDGE_PX = 5.0


@dataclass(frozen=True)
class Images:
    """Transforms of a block of particles, |k| within the current size, planar (b, 2, n).

    Attributes
    ----------
    masked
        Transform of the masked image: likelihood, noise and scale.
    unmasked
        Transform of the whole image: back-projection only.
    power
        |masked|^2 summed over the half plane per rounded shell up to N/2, (b, N/2 + 1) float64.
    """

    masked: Tensor
    unmasked: Tensor
    power: Tensor


@dataclass(frozen=True)
class TubeMask:
    """What of each segment of a filament is compared, and where its surroundings are measured.

    Attributes
    ----------
    inside
        (b, N, N) 1 in the tube about the segment's axis and in the circle of the particle.
    beside
        (b, N, N) 1 beside the tube: beyond the circle the filament goes on.
    """

    inside: Tensor
    beside: Tensor


def mask_images(images: Tensor, mask: Tensor | TubeMask) -> Tensor:
    """Replace what is outside the mask by the mean of the outside region (docs/algorithm.md, section 3, step 4)."""
    if isinstance(mask, TubeMask):
        background = (images.double() * mask.beside).sum((1, 2)) / mask.beside.double().sum((1, 2))
        return images * mask.inside + (1 - mask.inside) * background.to(images.dtype)[:, None, None]
    outside = 1 - mask
    background = (images.double() * outside).sum((1, 2)) / outside.double().sum()
    return images * mask + outside * background.to(images.dtype)[:, None, None]


def packed_transform(images: Tensor, pixels: Packed) -> Tensor:
    """FFT2(image)/N^2 with the origin at the centre pixel, gathered on the packed half plane: (n, p) complex."""
    n = images.shape[-1]
    spectrum = torch.fft.rfft2(images).flatten(1)[:, pixels.index]
    sign = 1 - 2 * ((pixels.kx + pixels.ky) % 2)
    return spectrum * (sign.to(images.dtype) / n**2)


def image_of(spectrum: Tensor, pixels: Packed) -> Tensor:
    """Images (n, N, N) whose `packed_transform` is the planar (n, 2, p), zero beyond the first p pixels."""
    n, count = pixels.box_px, spectrum.shape[-1]
    sign = 1 - 2 * ((pixels.kx[:count] + pixels.ky[:count]) % 2)
    values = torch.complex(spectrum[:, 0], spectrum[:, 1]) * (sign.to(spectrum.dtype) * n**2)
    full = values.new_zeros(len(spectrum), n * (n // 2 + 1))
    full[:, pixels.index[:count]] = values
    full = full.view(-1, n, n // 2 + 1)
    full[:, n // 2 + 1 :, 0] = full[:, 1 : n // 2, 0].flip(1).conj()  # the mates that the half plane leaves out
    return torch.fft.irfft2(full, s=(n, n))


def prepare(
    images: Tensor,
    factor: Tensor,
    shift_px: Tensor,
    mask: Tensor | TubeMask,
    pixels: Packed,
    n_pixels: int,
    correction: Tensor | None = None,
) -> Images:
    """Scale, centre, mask and transform particle images (docs/algorithm.md, section 3).

    Parameters
    ----------
    images
        (b, N, N) as stored.
    factor
        (b,) average norm correction over the particle's own.
    shift_px
        (b, 2) int64, previous origins rounded to whole pixels.
    mask
        (N, N) from `soft_circle`, or those of segments.
    pixels, n_pixels
        Packed half plane, and how many of its pixels are kept.
    correction
        (b, 2, p) planar factor of odd aberrations and the detector's transfer function, or None.
    """
    centred = shift_whole_pixels(images * factor[:, None, None].to(images.dtype), shift_px)
    unmasked = torch.view_as_real(packed_transform(centred, pixels)[:, :n_pixels]).movedim(-1, 1)
    whole = torch.view_as_real(packed_transform(mask_images(centred, mask), pixels)).movedim(-1, 1)
    if correction is not None:
        whole, unmasked = multiply(whole, correction), multiply(unmasked, correction[..., :n_pixels])
    power = shell_sums(whole.double().square().sum(1), pixels.shell, pixels.box_px // 2 + 1)
    return Images(whole[..., :n_pixels].contiguous(), unmasked.contiguous(), power)
