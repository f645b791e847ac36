"""What competes for an image: references that are searched over one grid of orientations, as one list of rows."""

from __future__ import annotations

import bisect
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.packed import Packed
from blush.fourier.project import project
from blush.fourier.transform import Sphere
from blush.geometry.sampling import OrientationGrid
from blush.io.upload import uploaded


@dataclass(frozen=True)
class Reference:
    """One map, and how probable it is before an image is seen.

    Attributes
    ----------
    sphere
        Transform of the map, cut at `current_size / 2`.
    log_prior
        Log of the reference's share of the images, over the mean share.
    log_prior_direction
        (directions,) log of the learned histogram, over its mean over all references, so that it holds the share too;
        or None: flat in direction.
    """

    sphere: Sphere
    log_prior: float = 0.0
    log_prior_direction: Tensor | None = None


@dataclass(frozen=True)
class Component:
    """References that compete for one part of every image.

    Row k R + r is reference k at orientation r of the R of the grid. So a posterior over rows is one over references
    and poses together, and nothing that handles rows has to know how many references there are.
    """

    references: tuple[Reference, ...]
    grid: OrientationGrid

    def __post_init__(self) -> None:
        """Spheres must be of one size, which the accumulators share."""
        if len({(r.sphere.box_px, r.sphere.r_max, r.sphere.pad) for r in self.references}) != 1:
            raise ValueError("a component needs at least one reference, and all of one box and radius")

    @property
    def sphere(self) -> Sphere:
        """The first reference's transform, whose box and radius are everyone's."""
        return self.references[0].sphere

    @property
    def n_rows(self) -> int:
        """References times coarse orientations."""
        return len(self.references) * self.grid.n_orientations

    @property
    def n_directions(self) -> int:
        """References times viewing directions."""
        return len(self.references) * self.grid.n_directions

    def direction(self, row: Tensor) -> Tensor:
        """Index of (reference, direction) of rows."""
        return torch.div(row, self.grid.n_psi, rounding_mode="floor")

    def reference(self, row: Tensor) -> Tensor:
        """Index of the reference of rows."""
        return torch.div(row, self.grid.n_orientations, rounding_mode="floor")

    def fine_matrices(self, row: Tensor) -> Tensor:
        """(n, children, 3, 3) rotations of the children of rows (n,)."""
        return self.grid.fine_matrices(row % self.grid.n_orientations)

    def log_prior(self, like: Tensor) -> Tensor:
        """(rows,) log prior of every row, on the device and of the type of `like`."""
        grid = self.grid
        learned = [r.log_prior_direction for r in self.references]
        flat = [torch.full((grid.n_directions,), r.log_prior, dtype=torch.float64) for r in self.references]
        priors = [given if given is not None else one for given, one in zip(learned, flat, strict=True)]
        return uploaded(torch.cat(priors), like.device, like.dtype).repeat_interleave(grid.n_psi)

    def edges(self, row: Tensor) -> list[int]:
        """Where each reference begins in ascending rows (n,), and the end: K + 1 numbers."""
        if len(self.references) == 1:
            return [0, len(row)]
        first = torch.arange(len(self.references) + 1, device=row.device) * self.grid.n_orientations
        return torch.searchsorted(row, first).tolist()

    def tiles(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Reference, first row and end of runs of at most `size` rows, none of them over two references."""
        n = self.grid.n_orientations
        for k in range(len(self.references)):
            for begin in range(0, n, size):
                yield k, k * n + begin, k * n + min(begin + size, n)

    def coarse_slices(self, k: int, begin: int, end: int, pixels: Packed, n_pixels: int) -> Tensor:
        """(rows, 2, n) slices of rows begin .. end, all of reference k."""
        first = k * self.grid.n_orientations
        row = torch.arange(begin - first, end - first, device=pixels.kx.device)
        return project(self.references[k].sphere, self.grid.matrices(row), pixels, n_pixels)


def runs(edges: list[int], begin: int, end: int) -> Iterator[tuple[int, slice]]:
    """Reference and part of the list of every reference that items begin .. end of it belong to."""
    k = bisect.bisect_right(edges, begin) - 1
    while begin < end:
        stop = min(edges[k + 1], end)
        if stop > begin:
            yield k, slice(begin, stop)
        begin, k = stop, k + 1
