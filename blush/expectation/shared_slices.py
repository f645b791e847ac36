"""Slices of directions that many images are searched over, at those in-plane angles that each of them needs.

Segments of filaments look across their axis, so that all of them are searched over one band of directions, but each at
few in-plane angles about its track. Slices of a band at one angle are made once and serve all images near that angle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.expectation.model import Model
from blush.fourier.packed import Packed
from blush.fourier.project import project
from blush.kernels.score import combine

CACHED_FLOATS = 2**27
"""Slices of all bands and angles are kept for a shard while they are below 512 MB."""


class SharedSlices:
    """Slices of groups of directions by in-plane angle, for all images of an iteration."""

    def __init__(self, model: Model, pixels: Packed, groups: Sequence[Tensor]) -> None:
        """Prepare.

        Parameters
        ----------
        groups
            Directions of the grid that are asked for together.
        """
        self.model, self.pixels, self.groups = model, pixels, tuple(groups)
        self.n_pixels = pixels.inside(model.coarse_radius)
        self._keep = self.rows * 2 * self.n_pixels * len(model.component.references) <= CACHED_FLOATS
        self._made: dict[tuple[int, int, int], Tensor] = {}

    @property
    def rows(self) -> int:
        """Orientations of all groups."""
        return sum(map(len, self.groups)) * self.model.component.grid.n_psi

    def of(self, reference: int, group: int, psi: int) -> Tensor:
        """(d, 2, n) slices of a group at one in-plane angle."""
        key = (reference, group, psi)
        if key in self._made:
            return self._made[key]
        component = self.model.component
        matrices = component.grid.matrices(self.groups[group] * component.grid.n_psi + psi)
        slices = project(component.references[reference].sphere, matrices, self.pixels, self.n_pixels)
        if self._keep:
            self._made[key] = slices
        return slices


@dataclass(frozen=True)
class SharedLists:
    """Lists of orientations that are the first groups of directions at w in-plane angles of every list.

    Attributes
    ----------
    psi
        (b, l, w) in-plane angles; -1 where a list has fewer.
    groups
        How many groups of directions: columns of scores are in-plane angles times directions.
    """

    slices: SharedSlices
    psi: Tensor
    groups: int

    def scores(self, rows: Tensor, power: Tensor, reference: int) -> Tensor:
        """(b, l t, w d) log likelihoods by a reference, -inf where a list has fewer in-plane angles.

        Parameters
        ----------
        rows
            (b, t, 2 n) shifted images, the same for all lists.
        power
            (b, n).
        """
        (b, lists, w), t = self.psi.shape, rows.shape[1]
        sizes = [len(one) for one in self.slices.groups[: self.groups]]
        out = rows.new_full((b, lists, t, w, sum(sizes)), -torch.inf)
        for psi in torch.unique(self.psi).tolist():
            if psi < 0:
                continue
            image, which, place = torch.nonzero(self.psi == psi, as_tuple=True)
            own, seen = rows[image].flatten(0, 1), power[image]
            found = []
            for group in (index for index, size in enumerate(sizes) if size):
                slices = self.slices.of(reference, group, psi)
                cross = (own @ slices.flatten(1).T).view(len(image), t, -1)
                squares = seen @ slices.square().sum(1).T
                found.append(combine(cross, squares, self.slices.model.cross_correlation))
            out[image, which, :, place] = torch.cat(found, 2)
        return out.view(b, lists * t, -1)
