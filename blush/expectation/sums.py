"""Sufficient statistics of some images: one volume per reference, and what the image model is updated from."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.model import Model
from blush.fourier.backproject import Accumulator, empty_accumulator
from blush.fourier.fixed_sums import FixedSums, as_accumulator, empty_fixed_sums
from blush.io.upload import downloaded

ADDED = ("noise", "weight", "scale_cross", "scale_power", "directions", "shares", "offset_square")
"""Statistics that add up over shards, beside the grid."""


def grid_name(k: int) -> str:
    """Name among arrays of the sums of reference k, counted from 0."""
    return f"grid_{k + 1:03d}"


MOST_IMAGES = 2**22
"""Of variance 1, whose Fourier coefficients are 1 at most, that the sums of a shard have room for."""


def whole_volumes(model: Model, device: torch.device) -> tuple[FixedSums, ...]:
    """D and W of no image, of every reference, in whole numbers.

    Their scale is the model's alone, so that all shards of an iteration have the same. They have room for the
    posteriors of `MOST_IMAGES` images.
    """
    noise = model.noise[:, : model.radius + 1]
    least = torch.where(noise > 0, noise, torch.inf).min().double()
    variance, largest = torch.stack((least, model.scale.max().double())).tolist()  # in one copy from the device
    precision, scale = 1 / variance, max(1.0, largest)
    data, weight = MOST_IMAGES * scale * precision, MOST_IMAGES * scale**2 * precision
    return tuple(
        empty_fixed_sums(model.box_px, model.radius, data, weight, device=device) for _ in model.component.references
    )


@dataclass
class Sums:
    """Sufficient statistics of a shard (docs/algorithm.md, section 3), all float64 apart from the grids.

    Attributes
    ----------
    volumes
        D and W of every reference, not yet made Hermitian.
    noise
        (o, s) sum over particles of sum_w w |X - P|^2 over the half plane.
    weight
        (o,) sum of posterior weights.
    scale_cross, scale_power
        (g,) sums of X P and P^2 over the shells that estimate the scale.
    offset_square
        Sum of w |offset|^2, in square Angstrom.
    directions
        (references x directions,) sum of weights.
    shares
        (references,) sum of the posterior of each reference.
    table
        Per-particle columns, in shard order.
    whole
        Instead of `volumes`, while a device adds to them: any order of what is added gives the same bytes.
    is_torn
        Whether some images are in one sum and not yet in another; so they stay where adding them ends with an error.
    """

    volumes: tuple[Accumulator, ...]
    noise: Tensor
    weight: Tensor
    scale_cross: Tensor
    scale_power: Tensor
    directions: Tensor
    shares: Tensor
    offset_square: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    table: dict[str, Tensor] = field(default_factory=dict)
    _parts: dict[str, list[Tensor]] = field(default_factory=dict)
    whole: tuple[FixedSums, ...] = ()
    is_torn: bool = False

    @classmethod
    def zero(cls, model: Model, n_optics: int, dtype: torch.dtype, device: torch.device) -> Sums:
        """Sums of no image; without volumes where poses are fixed, as those are summed side by side."""
        references = () if model.fixed_poses else model.component.references
        box, shells, on_cpu = model.box_px, model.box_px // 2 + 1, device.type == "cpu"
        zeros = torch.zeros(0, dtype=torch.float64, device=device)
        return cls(
            tuple(empty_accumulator(box, model.radius, dtype=dtype) for _ in references if on_cpu),
            whole=whole_volumes(model, device) if references and not on_cpu else (),
            noise=zeros.new_zeros(n_optics, shells),
            weight=zeros.new_zeros(n_optics),
            scale_cross=zeros.new_zeros(len(model.scale)),
            scale_power=zeros.new_zeros(len(model.scale)),
            directions=zeros.new_zeros(model.component.n_directions),
            shares=zeros.new_zeros(len(model.component.references)),
            offset_square=zeros.new_zeros(()),
        )

    @property
    def added_to(self) -> tuple[Accumulator, ...] | tuple[FixedSums, ...]:
        """What slices are inserted into."""
        return self.whole or self.volumes

    def settle(self, dtype: torch.dtype) -> None:
        """Turn whole numbers, if there are some, into `volumes`.

        Raises
        ------
        OverflowError
            If more was added to one than it had room for.
        """
        while self.whole:  # each is let go before the next is turned, where memory is short
            first, self.whole = self.whole[0], self.whole[1:]
            self.volumes += (as_accumulator(first, dtype),)

    def append(self, columns: dict[str, Tensor]) -> None:
        """Add the rows of one block of particles."""
        for name, column in columns.items():
            self._parts.setdefault(name, []).append(column)

    def gather(self) -> Sums:
        """Make the table of what was appended, on the host: after the last block, for which a GPU is waited for."""
        self.table |= downloaded({name: torch.cat(parts) for name, parts in self._parts.items()})
        self._parts = {}
        return self

    def arrays(self) -> dict[str, NDArray[np.float32] | NDArray[np.float64]]:
        """Every statistic by name; each reference's grid is (d, d, h, 3), without the padding channel."""
        grids = {grid_name(k): volume.grid[..., :3].cpu().contiguous().numpy() for k, volume in enumerate(self.volumes)}
        added = downloaded({name: getattr(self, name) for name in ADDED})
        out = grids | {name: one.numpy() for name, one in added.items()}
        return out | {f"table_{name}": column.numpy().astype(np.float64) for name, column in self.table.items()}
