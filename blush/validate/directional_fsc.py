"""Fourier shell correlation by direction, in cones around axes; an axis and its opposite are one.

Coefficients of one half of Fourier space are summed by shell and cell of the sphere first, and the cells whose middle
lies in a cone make the cone: many axes cost no more than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.grid import signed_frequencies
from blush.fourier.thresholds import HALF_MAPS
from blush.validate.sampling_factor import half_sphere

AXES = 256
HALF_ANGLE_DEG = 20.0
FEWEST_COEFFICIENTS = 10
"""In a cone of a shell; of fewer the correlation says nothing, and the shell is passed over."""
STRONG, DIP_SHELLS = 0.5, 3
"""FSC on both sides of a dip that is no end, and how near it has to be."""
_SIDES = (DIP_SHELLS, 0), (0, DIP_SHELLS)
EMPTY_POWER = 0.01
"""Of the mean of the shell: a cone with less was seen in no view, and holds what a mask leaks into it from others."""
CELL_DEG = 1.0
"""Side of a cell: the edge of a cone is as sharp as half of it."""


@dataclass(frozen=True)
class Cells:
    """Cells of nearly equal area on half the sphere, in rings of one height.

    Attributes
    ----------
    ring_start, ring_count
        (rings,) first cell and number of cells of each.
    middle
        (c, 3) unit vectors x, y, z.
    """

    ring_start: Tensor
    ring_count: Tensor
    middle: Tensor

    @classmethod
    def build(cls) -> Cells:
        """Rings from the pole to the equator."""
        tilt = torch.deg2rad((torch.arange(round(90 / CELL_DEG)) + 0.5).double() * CELL_DEG)
        count = (2 * math.pi * tilt.sin() / math.radians(CELL_DEG)).round().long()
        start = count.cumsum(0) - count
        ring = torch.repeat_interleave(torch.arange(len(count)), count)
        angle = 2 * math.pi * (torch.arange(len(ring)) - start[ring] + 0.5) / count[ring]
        sine = tilt.sin()[ring]
        return cls(start, count, torch.stack([sine * angle.cos(), sine * angle.sin(), tilt.cos()[ring]], 1))

    def of(self, x: Tensor, y: Tensor, height: Tensor) -> Tensor:
        """Cell of each direction, or of its opposite, from x and y of any length and z of the unit vector."""
        sign = torch.where(height < 0, -1.0, 1.0)
        ring = (torch.rad2deg(torch.acos(height.abs().clamp_max(1))) / CELL_DEG).long()
        ring = ring.clamp_max(len(self.ring_count) - 1)
        turn = (torch.atan2(sign * y, sign * x) / (2 * math.pi)) % 1
        count = self.ring_count[ring]
        return self.ring_start[ring] + torch.minimum((turn * count).long(), count - 1)

    def in_cones(self, axes: Tensor) -> Tensor:
        """Whether each cell lies in the cone around each of (a, 3) axes: (c, a) float64 of 0 and 1."""
        return ((self.middle @ axes.T).abs() >= math.cos(math.radians(HALF_ANGLE_DEG))).double()


@dataclass(frozen=True)
class HalfSpace:
    """Coefficients up to Nyquist of a cubic map's transform, one of each Friedel pair.

    Attributes
    ----------
    kept
        (k,) their places in a flattened rfftn array.
    bin
        (k,) shell * cells + cell.
    shells
        Number of shells, with shell 0.
    """

    cells: Cells
    kept: Tensor
    bin: Tensor
    shells: int

    @classmethod
    def build(cls, box: int) -> HalfSpace:
        """Half the sphere in the transform of a map of `box` voxels."""
        cells, signed = Cells.build(), signed_frequencies(box).float()
        z, y, x = signed[:, None, None], signed[None, :, None], torch.arange(box // 2 + 1).float()
        radius = (z**2 + y**2 + x**2).sqrt()
        is_one = (x > 0) | (z > 0) | ((z == 0) & (y > 0))
        kept = torch.nonzero((is_one & (radius < box // 2 + 0.5)).flatten())[:, 0]
        k_x, k_y, k_z = (axis.expand_as(radius).flatten()[kept] for axis in (x, y, z))
        radius = radius.flatten()[kept]
        shell = (radius + 0.5).long()
        return cls(cells, kept, shell * len(cells.middle) + cells.of(k_x, k_y, k_z / radius), box // 2 + 1)

    def transform(self, volume: Tensor) -> Tensor:
        """(k,) coefficients of an (N, N, N) map."""
        return torch.fft.rfftn(volume).flatten()[self.kept]

    def summed(self, first: Tensor, second: Tensor, inside: Tensor) -> Tensor:
        """Sums over cones of the real part of first times conjugate of second.

        Parameters
        ----------
        first, second
            (k,) coefficients.
        inside
            (c, a) how much of a cell a cone takes.

        Returns
        -------
        (a, s) float64.
        """
        product = (first * second.conj()).real.double()
        by_cell = torch.bincount(self.bin, product, self.shells * len(self.cells.middle))
        return (by_cell.reshape(self.shells, -1) @ inside).T


@dataclass(frozen=True)
class Cones:
    """Correlation by direction.

    Attributes
    ----------
    axes
        (a, 3) unit vectors x, y, z.
    fsc
        (a, s) from shell 0 on; 0 where `count` is too small.
    count
        (a, s) coefficients in a cone.
    """

    axes: Tensor
    fsc: Tensor
    count: Tensor


def directional_fsc(first: Tensor, second: Tensor, axes: Tensor | None = None) -> Cones:
    """Correlation of two maps in cones around axes.

    Parameters
    ----------
    first, second
        (N, N, N) half-maps, masked.
    axes
        (a, 3) unit vectors; None: 256 of a Fibonacci spiral.

    References
    ----------
    Tan et al. 2017, doi:10.1038/nmeth.4347
    """
    axes, space = half_sphere(AXES) if axes is None else axes, HalfSpace.build(first.shape[0])
    inside = torch.nn.functional.pad(space.cells.in_cones(axes), (0, 1), value=1.0)  # and all of the sphere
    one, other = space.transform(first), space.transform(second)
    ones = torch.ones(len(space.kept))
    count = space.summed(ones, ones, inside)
    cross, power1, power2 = (space.summed(a, b, inside) for a, b in ((one, other), (one, one), (other, other)))
    mean = (power1 * power2).sqrt() / count.clamp_min(1)
    is_empty = mean < EMPTY_POWER * mean[-1]
    fsc = torch.where(is_empty, 0.0, correlation(cross, power1, power2, count))
    return Cones(axes, fsc[:-1], count[:-1])


def correlation(cross: Tensor, power1: Tensor, power2: Tensor, count: Tensor) -> Tensor:
    """Normalised cross sums, 0 where there are too few coefficients."""
    norm = power1.sqrt() * power2.sqrt()
    return torch.where((norm > 0) & (count >= FEWEST_COEFFICIENTS), cross / norm.clamp_min(1e-300), 0.0)


def last_shells(fsc: Tensor, count: Tensor) -> Tensor:
    """Last shell before a curve falls to 0.143, of the shells that count: (...) int64 of (..., s).

    A molecule may be weak along an axis in a shell or two: β-galactosidase is at 15 Å, with 0.8 on either side. So a
    fall that has 0.5 or more within `DIP_SHELLS` before it and behind it is no end.
    """
    counts = count >= FEWEST_COEFFICIENTS
    fallen, strong = (fsc <= HALF_MAPS) & counts, (fsc >= STRONG) & counts
    before, behind = (torch.nn.functional.pad(strong, pad).unfold(-1, DIP_SHELLS, 1).any(-1) for pad in _SIDES)
    ends = fallen & ~(before[..., : fsc.shape[-1]] & behind[..., 1:])
    return torch.where(ends.any(-1), ends.long().argmax(-1), fsc.shape[-1]) - 1


def crossings(cones: Cones) -> Tensor:
    """Where the line between shells first crosses 0.143 along each axis, in shells; the last shell where none does."""
    last, n_shells = last_shells(cones.fsc, cones.count), cones.fsc.shape[-1]
    above, below = (cones.fsc.gather(1, (last + step).clamp_max(n_shells - 1)[:, None])[:, 0] for step in (0, 1))
    between = ((above - HALF_MAPS) / (above - below).clamp_min(1e-300)).clamp(0, 1)
    return torch.where(last < n_shells - 1, last + between, last.double())


def area_ratio(fsc: Tensor, count: Tensor) -> Tensor:
    """Conical FSC area ratio: least area under a cone's curve over the largest.

    The area is the sum of FSC times shell squared, up to where the FSC falls to 0.143 (`last_shells`).

    Parameters
    ----------
    fsc, count
        (..., a, s).

    Returns
    -------
    (...) from 0 to 1.
    """
    shell = torch.arange(fsc.shape[-1], dtype=torch.float64)
    used = (shell <= last_shells(fsc, count)[..., None]) & (count >= FEWEST_COEFFICIENTS)
    area = torch.where(used, fsc * shell**2, 0.0).sum(-1)
    return area.amin(-1) / area.amax(-1).clamp_min(1e-300)
