"""The padded Fourier transform of a map, cut to a sphere: what slices are taken from, and its inverse.

Conventions (docs/algorithm.md, section 1): the map's centre voxel N/2 is the origin of phases; its transform,
zero-padded to pad N, carries 1/N^2, so that slices have the scale of image transforms FFT2(image)/N^2.
A `Sphere` array is (d, d, h) with d = 2 r + 1 and h = r + 1: z and y from -r to r, x from 0 to r.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import torch
from torch import Tensor

PADDING = 2


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


def _axis_rows(radius: int, size: int, device: torch.device) -> Tensor:
    k = torch.arange(-radius, radius + 1, device=device)
    return torch.where(k < 0, k + size, k)


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
    spectrum = torch.fft.rfftn(pad_centred(volume, m), norm="backward")
    # At Nyquist the sphere touches +-pad N/2, which an even transform stores once: those single samples are dropped.
    out = torch.zeros(2 * radius + 1, 2 * radius + 1, radius + 1, dtype=spectrum.dtype, device=volume.device)
    sides = ((slice(0, keep + 1), slice(radius, radius + keep + 1)), (slice(m - keep, m), slice(radius - keep, radius)))
    for (z, to_z), (y, to_y) in product(sides, repeat=2):
        out[to_z, to_y, : keep + 1] = spectrum[z, y, : keep + 1]
    out *= box / n**3
    out.masked_fill_(sphere_k2(radius, volume.device) > (pad * r_max) ** 2, 0)
    return Sphere(out, box, r_max, pad)


def pad_centred(volume: Tensor, size: int) -> Tensor:
    """The map in a cube of zeros, its centre voxel at the first corner: no other copy of the cube is made."""
    n, out = volume.shape[0], torch.zeros((size,) * 3, dtype=volume.dtype, device=volume.device)
    middle = n // 2
    # the two sides of the centre along an axis, in the map and in the cube
    sides = ((slice(middle, n), slice(0, n - middle)), (slice(0, middle), slice(size - middle, size)))
    for chosen in product(sides, repeat=3):
        source, target = zip(*chosen, strict=True)
        out[target] = volume[source]
    return out


def crop_padded(values: Tensor, n: int, axis: int) -> Tensor:
    """Undo `pad_centred` along one axis: its n places about the first, in the order of a map."""
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
    spectrum = torch.zeros(m, m, m // 2 + 1, dtype=sphere.values.dtype, device=sphere.values.device)
    rows = _axis_rows(keep, m, spectrum.device)
    span = slice(radius - keep, radius + keep + 1)
    spectrum[rows[:, None], rows[None, :], : keep + 1] = sphere.values[span, span, : keep + 1]
    volume = torch.fft.irfftn(spectrum, s=(m, m, m))
    for axis in range(3):
        volume = crop_padded(volume, n, axis)
    volume *= n**2
    return flatten_corners(volume) / gridding_correction(n, pad, like=volume)


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
