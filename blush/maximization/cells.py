"""The cells of a padded sphere that hold data, as a list: sums, their maps, and transforms of maps on the same cells.

A sphere fills half of the cube that it lies in, and most steps on the sums of a class are cell by cell. Lists of cells
take half of the time and memory of cubes, and know their shells. Maps may be made in a smaller box than the images',
whose voxels are larger: the cells hold nothing beyond their radius, which is all that a box has to resolve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.compaction import number_of_each
from blush.fourier.filter import resize_volume
from blush.fourier.transform import (
    cropped_map,
    flatten_corners,
    gridding_correction,
    padded_spectrum,
    sphere_k2,
    sphere_radius,
)
from blush.io.upload import uploaded
from blush.maximization.reconstruct import FIRST_REGULARISED_SHELL, WEIGHT_FLOOR

Floats = NDArray[np.float64]
MORE_SHELLS = 5
"""Shells beyond those of the cells that a smaller box resolves: what is multiplied by a mask reaches so far."""
WORTH = 0.9
"""A box is made smaller where it is at most this part of the images'."""


def map_size(box_px: int, r_max: int) -> int:
    """Voxels along maps that resolve `r_max` shells of images of N pixels and some more: even, and good for FFTs."""
    least = 2 * (r_max + MORE_SHELLS)
    found = next(n for n in range(least, 2 * least + 2, 2) if not n % 2 and _is_smooth(n))
    return found if found <= WORTH * box_px else box_px


def _is_smooth(n: int) -> bool:
    for prime in (2, 3, 5):
        while n % prime == 0:
            n //= prime
    return n == 1


@dataclass(frozen=True, eq=False)
class Cells:
    """Cells with |k| <= pad r_max of a sphere (d, d, h), in the order of the array, and how maps follow from them.

    Attributes
    ----------
    box_px
        N of the images.
    map_px
        Voxels along the maps, N or fewer; even, and at least 2 r_max.
    r_max, pad
        As in `Accumulator`.
    place
        (n,) int32 position in the flattened (d, d, h).
    sample
        (n,) int32 position in the flattened (m, 2 r + 1, r + 1), m = pad map_px and r = pad r_max: frequencies along z
        as FFTs have them, the others as spheres have them.
    shell, floor
        (n,) int32 unpadded shell, rounded half up and rounded down; r_max + 1 on the rim, |k| = pad r_max.
    near
        (n,) int32 position of the nearest cell without padding in the flattened (2 r_max + 3, 2 r_max + 3, r_max + 2).
    """

    box_px: int
    map_px: int
    r_max: int
    pad: int
    place: Tensor
    sample: Tensor
    shell: Tensor
    floor: Tensor
    near: Tensor

    @classmethod
    def of(cls, like: Accumulator, map_px: int | None = None) -> Cells:
        """The cells of sums; maps of them have `map_px` voxels along, or as many as images have pixels.

        Raises
        ------
        ValueError
            Where maps of so few voxels do not hold the cells.
        """
        return _cells(like.box_px, map_px or like.box_px, like.r_max, like.pad, str(like.grid.device))

    def fit(self, volume: Tensor) -> Tensor:
        """A map of N voxels along with as many voxels as the maps of these cells have."""
        return (
            volume if len(volume) == self.map_px else resize_volume(volume, 1.0, self.map_px, len(volume) / self.map_px)
        )

    def full(self, volume: Tensor) -> Tensor:
        """A map of these cells with as many voxels along as images have pixels."""
        n = self.box_px
        return volume if len(volume) == n else resize_volume(volume, n / len(volume), n, 1.0)

    def pack(self, sums: Accumulator) -> CellSums:
        """The same sums on these cells."""
        chosen = sums.grid.view(-1, sums.grid.shape[-1]).index_select(0, self.place)
        return CellSums(self, torch.view_as_complex(chosen[:, :2].contiguous()), chosen[:, 2].contiguous())

    def transform(self, volume: Tensor) -> Tensor:
        """The D / W of which `map` makes this map (map_px, map_px, map_px): (n,) complex.

        Exact as `blush.maximization.reconstruct.transform_of_map` is.
        """
        m, r = self.pad * self.map_px, self.pad * self.r_max
        blurred = volume * gridding_correction(self.map_px, self.pad, like=volume)
        block = padded_spectrum(blurred, m, r).flatten()
        return block.index_select(0, self.sample) * (self.box_px / self.map_px**3)

    def map(self, values: Tensor) -> Tensor:
        """The map of D / W on the cells, gridding-corrected, as `inverse_transform` makes it: (map_px, ) * 3."""
        n, pad = self.map_px, self.pad
        m, r = pad * n, pad * self.r_max
        block = values.new_zeros(m, 2 * r + 1, r + 1)
        block.view(-1)[self.sample] = values
        volume = cropped_map(block, n) * (n**3 / self.box_px)
        return flatten_corners(volume) / gridding_correction(n, pad, like=volume)

    def by_shell(self, values: Tensor, shell: Tensor) -> Tensor:
        """Mean of values (n,) over the cells of each shell, the rim's last: (r_max + 2,) float64."""
        total = torch.zeros(self.r_max + 2, dtype=torch.float64, device=values.device)
        total.index_add_(0, shell, values.double())
        return total / number_of_each(shell, self.r_max + 2).clamp_min(1)

    def table(self, spectrum: Floats) -> Tensor:
        """A spectrum (N/2 + 1,) for the shells 0 to r_max + 1, 0 in the last: (r_max + 2,) float64."""
        out = torch.zeros(self.r_max + 2, dtype=torch.float64)
        used = min(len(spectrum), self.r_max + 1)
        out[:used] = torch.from_numpy(np.asarray(spectrum[:used]))
        return uploaded(out, self.shell.device)


@dataclass(frozen=True, eq=False)
class CellSums:
    """Sums D (n,) complex and W (n,) real on some cells."""

    cells: Cells
    data: Tensor
    weight: Tensor

    def accumulator(self) -> Accumulator:
        """The same as an array over the whole sphere, zero elsewhere."""
        cells, radius = self.cells, sphere_radius(self.cells.r_max, self.cells.pad)
        grid = self.weight.new_zeros((2 * radius + 1) ** 2 * (radius + 1), 4)
        values = torch.cat((torch.view_as_real(self.data), self.weight[:, None]), 1)
        grid[cells.place, :3] = values
        shape = (2 * radius + 1, 2 * radius + 1, radius + 1, 4)
        return Accumulator(grid.view(shape), cells.box_px, cells.r_max, cells.pad)


def add(sums: Sequence[CellSums]) -> CellSums:
    """All of some sums on the same cells."""
    return reduce(lambda a, b: CellSums(a.cells, a.data + b.data, a.weight + b.weight), sums)


def divided(
    sums: CellSums, tau2: Floats | None, *, first_shell: int = FIRST_REGULARISED_SHELL, expected: Tensor | None = None
) -> Tensor:
    """What `blush.maximization.reconstruct.divide` makes of the same sums, on their cells: (n,) complex.

    Parameters
    ----------
    expected
        (n,) transform of the map that the prior expects, of `Cells.transform`.
    """
    cells, weight, data = sums.cells, sums.weight, sums.data
    if tau2 is not None:
        signal = cells.table(tau2)
        term = torch.where(signal > 0, 1 / (cells.pad**3 * signal), 0.0)
        term[:first_shell] = 0
        term = term.to(weight.dtype).index_select(0, cells.shell)
        if expected is not None:
            data = data + term * expected
        empties = signal <= 0
        empties[:first_shell] = False
        annihilated = 1 / (1e-3 * weight).clamp_min(torch.finfo(weight.dtype).tiny)
        weight = weight + torch.where(empties.index_select(0, cells.shell), annihilated, term)
    least = (WEIGHT_FLOOR * cells.by_shell(weight, cells.floor)).to(weight.dtype)
    least = least.clamp_min(torch.finfo(weight.dtype).tiny)
    least[-1] = torch.inf  # the rim is left out
    return data / torch.maximum(weight, least.index_select(0, cells.floor))


def noise_of(sums: CellSums) -> Floats:
    """What `blush.maximization.spectra.reference_noise` says of the same sums: (N/2 + 1,)."""
    cells = sums.cells
    average = cells.by_shell(sums.weight, cells.shell)[: cells.r_max + 1].cpu().numpy()
    out, measured = np.zeros(cells.box_px // 2 + 1), average > 0
    out[: cells.r_max + 1][measured] = 1 / (cells.pad**3 * average[measured])
    return out


@lru_cache(maxsize=2)
def _cells(box_px: int, map_px: int, r_max: int, pad: int, device: str) -> Cells:
    if map_px % 2 or map_px < 2 * r_max:
        raise ValueError(f"maps of {map_px} voxels do not hold {r_max} shells: give an even number, twice that or more")
    radius, r, m = sphere_radius(r_max, pad), pad * r_max, pad * map_px
    k2 = sphere_k2(radius)
    place = torch.nonzero((k2 <= r * r).flatten()).squeeze(1)
    k2, d, h = k2.flatten()[place], 2 * radius + 1, radius + 1
    z, y, x = place // (d * h) - radius, place // h % d - radius, place % h
    sample = (z % m * (2 * r + 1) + y + r) * (r + 1) + x
    far = k2.double().sqrt() / pad
    rounded, floor = ((far + half).floor().clamp_max(r_max).int() for half in (0.5, 0.0))
    rim = k2 == r * r
    rounded[rim] = floor[rim] = r_max + 1

    def near(axis: Tensor) -> Tensor:
        return axis.sign() * (axis.abs() / pad + 0.5).floor().long() + r_max + 1

    wide = 2 * r_max + 3
    to = (near(z) * wide + near(y)) * (r_max + 2) + near(x) - r_max - 1
    found = (place.int(), sample.int(), rounded, floor, to.int())
    return Cells(box_px, map_px, r_max, pad, *(one.to(device) for one in found))
