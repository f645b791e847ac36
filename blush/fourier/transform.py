"""The padded Fourier transform of a map, cut to a sphere: what slices are taken from, and its inverse.

Conventions (docs/algorithm.md, section 1): the map's centre voxel N/2 is the origin of phases; its transform,
zero-padded to pad N, carries 1/N^2, so that slices have the scale of image transforms FFT2(image)/N^2.
A `Sphere` array is (d, d, h) with d = 2 r + 1 and h = r + 1: z and y from -r to r, x from 0 to r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

PADDING = 2
PRUNED = 0.9
"""Part of the frequencies along an axis up to which others are left out before they are computed."""


def sphere_radius(r_max: int, pad: int = PADDING) -> int:
    """Array radius that holds |k| <= pad r_max and the trilinear neighbours of pixels up to r_max + 1/2."""
    return pad * r_max + pad // 2 + 2


@dataclass(frozen=True)
class Sphere:
    """Fourier samples of a map inside |k| <= pad r_max, zero outside.

    Attributes
    ----------
    values
        (d, d, h) complex.
    box_px
        N of the unpadded map.
    r_max
        Cut-off in unpadded shells.
    """

    values: Tensor
    box_px: int
    r_max: int
    pad: int = PADDING

    @property
    def radius(self) -> int:
        """Array radius r: d = 2 r + 1."""
        return (self.values.shape[0] - 1) // 2


@lru_cache(maxsize=4)
def _gridding_correction(box_px: int, pad: int, dtype: torch.dtype, device: str) -> Tensor:
    x = (torch.arange(box_px, device=device, dtype=torch.float64) - box_px // 2) ** 2
    radius = (x[:, None, None] + x[None, :, None] + x[None, None, :]).sqrt() / (pad * box_px)
    return (torch.special.sinc(radius) ** 2).to(dtype)


def gridding_correction(box_px: int, pad: int = PADDING, *, like: Tensor) -> Tensor:
    """sinc^2(r / (pad N)) over the (N, N, N) map: the transform of the trilinear kernel; not to be written to.

    See docs/algorithm.md, section 1.
    """
    return _gridding_correction(box_px, pad, like.dtype, str(like.device))


def sphere_k2(radius: int, device: torch.device | str = "cpu") -> Tensor:
    """Squared padded frequency of each cell of a (d, d, h) array, int32 (half the memory of the default)."""
    k = torch.arange(-radius, radius + 1, device=device, dtype=torch.int32) ** 2
    x = torch.arange(radius + 1, device=device, dtype=torch.int32) ** 2
    return k[:, None, None] + k[None, :, None] + x[None, None, :]


def transform(
    volume: Tensor, r_max: int, pad: int = PADDING, *, corrected: bool = True, box_px: int | None = None
) -> Sphere:
    """Padded, gridding-corrected transform of a cubic map, cut at `r_max`.

    Parameters
    ----------
    volume
        (N, N, N) real, z y x, centre at voxel N/2; N even.
    r_max
        Largest unpadded shell kept, at most N/2.
    corrected
        Divide by sinc^2 first, which undoes the blur of trilinear interpolation.
    box_px
        Box of the images where the map has fewer, larger voxels over the same extent; the sphere is empty beyond the
        map's own Nyquist shell. None: N.
    """
    n, box = volume.shape[0], box_px or volume.shape[0]
    if r_max > box // 2:
        raise ValueError(f"r_max {r_max} is beyond the Nyquist shell {box // 2} of a {box} px box")
    if corrected:
        volume = volume / gridding_correction(n, pad, like=volume)
    m = pad * n
    radius = sphere_radius(r_max, pad)
    keep = min(radius, m // 2 - 1)
    spectrum = padded_spectrum(volume, m, keep)
    # At Nyquist the sphere touches +-pad N/2, which an even transform stores once: those single samples are dropped.
    out = torch.zeros(2 * radius + 1, 2 * radius + 1, radius + 1, dtype=spectrum.dtype, device=volume.device)
    out[radius : radius + keep + 1, radius - keep : radius + keep + 1, : keep + 1] = spectrum[: keep + 1]
    out[radius - keep : radius, radius - keep : radius + keep + 1, : keep + 1] = spectrum[m - keep :]
    out *= box / n**3
    out.masked_fill_(sphere_k2(radius, volume.device) > (pad * r_max) ** 2, 0)
    return Sphere(out, box, r_max, pad)


def padded_spectrum(volume: Tensor, size: int, radius: int) -> Tensor:
    """Transform of a map in a cube of zeros, its centre voxel at the first corner: (size, 2 radius + 1, radius + 1).

    Frequencies along z as FFTs have them, along y from -radius, along x from 0; `radius` is at most size / 2. Lines
    that hold nothing, and those that nobody asks for, are not transformed; where most are asked for, all of them are.
    """
    if 2 * radius > PRUNED * size:
        whole = volume
        for axis in range(3):
            whole = pad_centred(whole, size, axis)
        return _low_rows(torch.fft.rfftn(whole)[:, :, : radius + 1], radius)
    lines = torch.fft.rfft(pad_centred(volume, size, 2), dim=2)[:, :, : radius + 1]
    planes = _low_rows(torch.fft.fft(pad_centred(lines, size, 1), dim=1), radius)
    return torch.fft.fft(pad_centred(planes, size, 0), dim=0)


def _low_rows(values: Tensor, radius: int) -> Tensor:
    """Frequencies -radius to radius of the second axis."""
    return torch.cat((values.narrow(1, values.shape[1] - radius, radius), values.narrow(1, 0, radius + 1)), 1)


def pad_centred(values: Tensor, size: int, axis: int) -> Tensor:
    """Zeros added along an axis up to `size` places, the centre of a map at the first."""
    n, shape = values.shape[axis], list(values.shape)
    shape[axis] = size
    out = torch.zeros(shape, dtype=values.dtype, device=values.device)
    out.narrow(axis, 0, n - n // 2).copy_(values.narrow(axis, n // 2, n - n // 2))
    out.narrow(axis, size - n // 2, n // 2).copy_(values.narrow(axis, 0, n // 2))
    return out


def crop_padded(values: Tensor, n: int, axis: int) -> Tensor:
    """Undo `pad_centred`: the n places about the first along an axis, in the order of a map."""
    size = values.shape[axis]
    return torch.cat((values.narrow(axis, size - n // 2, n // 2), values.narrow(axis, 0, n - n // 2)), axis)


def inverse_transform(sphere: Sphere) -> Tensor:
    """The (N, N, N) map whose padded transform is `sphere`: gridding-corrected and cropped.

    See docs/algorithm.md, section 5.

    Voxels from radius N/2 on blend, over a cosine of 3 px, into their mean, as RELION's do.
    """
    n, pad, radius = sphere.box_px, sphere.pad, sphere.radius
    m = pad * n
    keep = min(radius, m // 2 - 1)
    span = slice(radius - keep, radius + keep + 1)
    block = sphere.values.new_zeros(m, 2 * keep + 1, keep + 1)
    block[: keep + 1] = sphere.values[radius : radius + keep + 1, span, : keep + 1]
    block[m - keep :] = sphere.values[radius - keep : radius, span, : keep + 1]
    volume = cropped_map(block, n) * n**2
    return flatten_corners(volume) / gridding_correction(n, pad, like=volume)


def cropped_map(block: Tensor, n: int) -> Tensor:
    """The (n, n, n) voxels about the centre of a padded map whose transform `padded_spectrum` gives as `block`.

    Along y and x its radius is half the padded size at most; where it is that half, the frequency is left out.
    """
    size, radius = block.shape[0], block.shape[2] - 1
    planes = crop_padded(torch.fft.ifft(block, dim=0), n, 0)
    lines = planes.new_zeros(n, size, radius + 1)
    lines[:, : radius + 1] = planes[:, radius:]
    lines[:, size - radius :] = planes[:, :radius]
    lines = crop_padded(torch.fft.ifft(lines, dim=1), n, 1)
    return crop_padded(torch.fft.irfft(lines, n=size, dim=2), n, 2)


def flatten_corners(volume: Tensor) -> Tensor:
    """Blend a map (N, N, N) from radius N/2 on, over a cosine of 3 px, into the mean of what is there."""
    weight, total = _corners(volume.shape[0], volume.dtype, str(volume.device))
    background = (weight.double() * volume.double()).sum() / total
    return volume * (1 - weight) + weight * background.to(volume.dtype)


@lru_cache(maxsize=4)
def _corners(n: int, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Weight of the mean at every voxel, and the sum of all of it."""
    x = (torch.arange(n, device=device, dtype=dtype) - n // 2) ** 2
    r = (x[:, None, None] + x[None, :, None] + x[None, None, :]).sqrt()
    beyond = ((r - n / 2) / 3).clamp(0, 1)
    weight = (0.5 - 0.5 * torch.cos(math.pi * beyond)).to(dtype)
    return weight, weight.double().sum()
