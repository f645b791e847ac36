"""Central slices of several maps at one orientation for every image: one set of indices and weights serves all maps.

Maps are stored cell by cell (`blush/fourier/lanes.py`), so a cell of up to eight maps is one line of the cache.
Memory: 8 d^2 h L bytes in float32, twice that in float64, with d = 2 r + 1 and h = r + 1 of the sphere and L lanes: the
number of maps, rounded up to 1, 2, 4 or a multiple of 8. `project_many` alone keeps slices of all maps; the others take
8 kB for every image of a block (`predict_many` 12 kB), and no more from 4096 images on. On a CPU, what the images of a
block have in a thin shell of the maps is sorted by place, so that a cell is fetched once for many images: blocks of
thousands of images are faster than blocks of tens.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.lanes import aligned_zeros, by_lane, groups_and_lanes
from blush.fourier.packed import Packed
from blush.fourier.transform import Sphere
from blush.kernels import native
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners, taps


@dataclass(frozen=True)
class Interleaved:
    """Spheres of one size (`blush/fourier/transform.py`), voxel-major.

    Attributes
    ----------
    values
        (d, d, h, groups, 2, lanes) real: real and imaginary parts of the maps of every group.
    n_maps
        K: the first K lanes hold maps, the others are zero.
    """

    values: Tensor
    n_maps: int
    box_px: int
    r_max: int
    pad: int

    @property
    def radius(self) -> int:
        """Array radius r: d = 2 r + 1."""
        return (self.values.shape[0] - 1) // 2


def interleave(spheres: Sequence[Sphere]) -> Interleaved:
    """Store the transforms of several maps side by side.

    Raises
    ------
    ValueError
        If there is no sphere, or they differ in box, radius or padding.
    """
    groups, lanes = groups_and_lanes(len(spheres))
    first = spheres[0]
    sizes = [(s.box_px, s.r_max, s.pad) for s in spheres]
    if len(set(sizes)) != 1:
        raise ValueError(f"maps of (box, radius, padding) {sizes} cannot lie side by side; they must be equal")
    real = first.values.real.dtype
    values = aligned_zeros((*first.values.shape, groups, 2, lanes), real, first.values.device)
    for k, sphere in enumerate(spheres):
        values[..., k // lanes, :, k % lanes] = torch.view_as_real(sphere.values)
    return Interleaved(values, len(spheres), first.box_px, first.r_max, first.pad)


def project_many(maps: Interleaved, matrices: Tensor, pixels: Packed, n_pixels: int) -> Tensor:
    """Slices of every map at the orientation of every image, as `project` gives them for one map.

    Parameters
    ----------
    matrices
        (b, 3, 3), volume to image.
    pixels, n_pixels
        The first `n_pixels` of the packed half plane are sampled; they must lie within |k| <= r_max + 1/2.

    Returns
    -------
    (b, K, 2, n_pixels) real.
    """
    values = maps.values
    out = torch.empty(len(matrices), maps.n_maps, 2, n_pixels, dtype=values.dtype, device=values.device)
    if native.usable(values):
        native.call("project_many", *_seen(maps, matrices, pixels, n_pixels), maps.n_maps, out)
        return out
    for rows, slices in _blocks(maps, matrices, pixels, n_pixels):
        out[rows] = slices
    return out


def score_many(maps: Interleaved, matrices: Tensor, image: Tensor, power: Tensor, pixels: Packed) -> Tensor:
    """Log likelihood of every map for every image, up to a constant of the image.

    Parameters
    ----------
    matrices
        (b, 3, 3), volume to image.
    image, power
        (b, 2, n) s CTF X / sigma^2 and (b, n) (s CTF)^2 / (2 sigma^2) at the first n packed pixels, as `score_pairs`
        takes them.

    Returns
    -------
    (b, K) float64: Re< image, slice > - sum_k power |slice|^2; products are of the maps' precision, sums of float64.
    """
    n = image.shape[-1]
    out = torch.zeros(len(matrices), maps.n_maps, dtype=torch.float64, device=maps.values.device)
    if native.usable(maps.values, image, power):
        padded = by_lane(out, maps.n_maps)
        native.call(
            "score_many", *_seen(maps, matrices, pixels, n), image.contiguous(), power.contiguous(), padded,
        )  # fmt: skip
        return padded[:, : maps.n_maps].contiguous()
    for rows, slices in _blocks(maps, matrices, pixels, n):
        cross = (image[rows, None] * slices).sum((2, 3), dtype=torch.float64)
        out[rows] = cross - (power[rows, None] * slices.square().sum(2)).sum(2, dtype=torch.float64)
    return out


def predict_many(
    maps: Interleaved, matrices: Tensor, share: Tensor, pixels: Packed, n_pixels: int
) -> tuple[Tensor, Tensor]:
    """What the maps together predict of every image, as the update of the noise needs it.

    Parameters
    ----------
    matrices
        (b, 3, 3), volume to image.
    share
        (b, K) weight of every map; images whose shares are all 0 cost nothing and get 0.

    Returns
    -------
    sum_k share slice_k, (b, 2, n_pixels), and sum_k share |slice_k|^2, (b, n_pixels).
    """
    values = maps.values
    weight = by_lane(share.to(values), maps.n_maps)
    mean = torch.zeros(len(matrices), 2, n_pixels, dtype=values.dtype, device=values.device)
    square = torch.zeros(len(matrices), n_pixels, dtype=values.dtype, device=values.device)
    if native.usable(values):
        native.call("predict_many", *_seen(maps, matrices, pixels, n_pixels), weight, mean, square)
        return mean, square
    for rows, slices in _blocks(maps, matrices, pixels, n_pixels):
        part = weight[rows, : maps.n_maps, None]
        mean[rows] = (part[..., None] * slices).sum(1)
        square[rows] = (part * slices.square().sum(2)).sum(1)
    return mean, square


def _seen(maps: Interleaved, matrices: Tensor, pixels: Packed, n: int) -> tuple[Tensor | int | float, ...]:
    """The first arguments of the compiled kernels: maps, their layout, orientations and pixels."""
    values = maps.values
    groups, _, lanes = values.shape[3:]
    matrices = matrices.to(values).contiguous()
    kx, ky = (k[:n].to(values.dtype).contiguous() for k in (pixels.kx, pixels.ky))
    return values, lanes, groups, maps.radius, float(maps.pad), matrices, len(matrices), kx, ky, n


def _blocks(maps: Interleaved, matrices: Tensor, pixels: Packed, n: int) -> Iterator[tuple[slice, Tensor]]:
    """Slices of every map for some images at a time, (rows, K, 2, n), by the torch twin."""
    values = maps.values
    flat = values.flatten(3).flatten(0, 2)
    kx, ky = (k[:n].to(values.dtype) for k in (pixels.kx, pixels.ky))
    step = max(1, SAMPLES_PER_CHUNK // max(1, n * flat.shape[1] // 2))
    for begin in range(0, len(matrices), step):
        rows = slice(begin, begin + step)
        corner, fraction, sign = taps(matrices[rows].to(values), kx, ky, maps.radius, maps.pad)
        total = torch.zeros(*corner.shape, flat.shape[1], dtype=flat.dtype, device=flat.device)
        for offset, weight in corners(fraction, maps.radius):
            total += flat[corner + offset] * weight[..., None]
        planes = total.view(*corner.shape, *values.shape[3:]).permute(0, 2, 4, 3, 1).flatten(1, 2)[:, : maps.n_maps]
        yield rows, torch.stack((planes[:, :, 0], planes[:, :, 1] * sign[:, None]), dim=2)
