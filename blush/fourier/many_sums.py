"""Insertion of an image into several volumes at its one orientation, with a weight for each: adjoint of `project_many`.

The sums are stored cell by cell (`blush/fourier/lanes.py`). Memory: 4 C d^2 h L bytes in float32, twice that in
float64, with d = 2 r + 1 and h = r + 1 of the sphere, L lanes (the number of volumes, rounded up to 1, 2, 4 or a
multiple of 8) and C = 4 channels, or 3 from 5 volumes on; for a call, 8 kB for every image of up to 4096. `unpack` adds
16 d^2 h bytes for every volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.lanes import LANES_OF_A_GROUP, aligned_zeros, by_lane, groups_and_lanes
from blush.fourier.packed import Packed
from blush.fourier.transform import PADDING, sphere_radius
from blush.kernels import native
from blush.kernels.taps import SAMPLES_PER_CHUNK, corners, taps


@dataclass(frozen=True)
class InterleavedSums:
    """Data and weight sums D, W of several volumes (`blush/fourier/backproject.py`), voxel-major.

    Attributes
    ----------
    grid
        (d, d, h, groups, channels, lanes): real and imaginary part of D, then W; a fourth channel is unused.
    n_maps
        K: the first K lanes hold volumes, the others stay zero.
    """

    grid: Tensor
    n_maps: int
    box_px: int
    r_max: int
    pad: int = PADDING

    @classmethod
    def pack(cls, volumes: Sequence[Accumulator]) -> InterleavedSums:
        """Copy sums of one size side by side.

        Raises
        ------
        ValueError
            If there are none, or they differ in box, radius or padding.
        """
        sizes = [(v.box_px, v.r_max, v.pad) for v in volumes]
        if len(set(sizes)) != 1:
            raise ValueError(f"sums of (box, radius, padding) {sizes} cannot lie side by side; they must be equal")
        first = volumes[0]
        sums = empty_sums(
            len(volumes), first.box_px, first.r_max, dtype=first.grid.dtype, device=first.grid.device, pad=first.pad
        )
        for k, volume in enumerate(volumes):
            sums._of_volume(k).copy_(volume.grid[..., :3])
        return sums

    @property
    def radius(self) -> int:
        """Array radius r: d = 2 r + 1."""
        return (self.grid.shape[0] - 1) // 2

    def unpack(self) -> tuple[Accumulator, ...]:
        """The sums of every volume, copied."""
        return tuple(self.volume(k) for k in range(self.n_maps))

    def volume(self, k: int) -> Accumulator:
        """The sums of volume k, copied; for one volume at a time where memory is short."""
        grid = torch.zeros(*self.grid.shape[:3], 4, dtype=self.grid.dtype, device=self.grid.device)
        grid[..., :3] = self._of_volume(k)
        return Accumulator(grid, self.box_px, self.r_max, self.pad)

    def _of_volume(self, k: int) -> Tensor:
        """View of D and W of volume k, (d, d, h, 3)."""
        lanes = self.grid.shape[5]
        return self.grid[..., k // lanes, :3, k % lanes]


def empty_sums(
    n_maps: int,
    box_px: int,
    r_max: int,
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
    pad: int = PADDING,
) -> InterleavedSums:
    """Zero sums of `n_maps` volumes for images of `box_px` pixels, cut at shell `r_max`."""
    r, (groups, lanes) = sphere_radius(r_max, pad), groups_and_lanes(n_maps)
    channels = 3 if lanes == LANES_OF_A_GROUP else 4
    shape = (2 * r + 1, 2 * r + 1, r + 1, groups, channels, lanes)
    return InterleavedSums(aligned_zeros(shape, dtype, device), n_maps, box_px, r_max, pad)


def insert_many(
    sums: InterleavedSums, matrices: Tensor, image: Tensor, power: Tensor, share: Tensor, pixels: Packed
) -> None:
    """Add share[i, k] of every image to volume k, in place (`sums` is the one argument that changes).

    The sums depend on the images of the call and their order alone; what is added in two calls may differ from one
    call in the last bits.

    Parameters
    ----------
    matrices
        (b, 3, 3), volume to image.
    image, power
        (b, 2, n) planar complex and (b, n) real; the first n packed pixels, |k| <= r_max.
    share
        (b, K); images whose shares are all 0 cost nothing.
    """
    grid, n = sums.grid, image.shape[-1]
    weight = by_lane(share.to(grid), sums.n_maps)
    matrices = matrices.to(grid).contiguous()
    kx, ky = (k[:n].to(grid.dtype).contiguous() for k in (pixels.kx, pixels.ky))
    groups, channels, lanes = grid.shape[3:]
    if native.usable(grid, image, power):
        native.call(
            "insert_many", grid, lanes, groups, sums.radius, float(sums.pad), matrices, len(matrices), kx, ky, n,
            image.contiguous(), power.contiguous(), weight,
        )  # fmt: skip
        return
    flat = grid.view(-1, groups * channels * lanes)
    step = max(1, SAMPLES_PER_CHUNK // max(1, n * flat.shape[1] // 4))
    for begin in range(0, len(matrices), step):
        rows = slice(begin, begin + step)
        corner, fraction, sign = taps(matrices[rows], kx, ky, sums.radius, sums.pad)
        channel = [image[rows, 0], image[rows, 1] * sign, power[rows], torch.zeros_like(sign)][:channels]
        values = torch.stack(channel, dim=-1)[:, :, None, :, None] * weight[rows].view(-1, 1, groups, 1, lanes)
        values = values.flatten(2)
        for offset, tap in corners(fraction, sums.radius):
            flat.index_add_(0, (corner + offset).flatten(), (values * tap[..., None]).flatten(0, 1))
