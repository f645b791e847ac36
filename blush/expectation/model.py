"""What one half-set's expectation step needs to know, and what a shard of it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.fourier.transform import Sphere
from blush.geometry.sampling import OrientationGrid


@dataclass(frozen=True)
class Model:
    """The current estimate of one half-set, and the poses to search.

    Attributes
    ----------
    sphere
        Transform of the reference, cut at `current_size / 2`.
    coarse_radius, radius
        Largest shell compared in the first and the second pass.
    noise
        (o, N/2 + 1) sigma^2 per component of each optics group (docs/algorithm.md, section 3).
    scale
        (g,) factor of each particle group.
    norm_average
        Average norm correction of the half-set.
    grid, offsets_angst, offset_step_angst
        Coarse orientations and shifts (t, 2), both perturbed already; the step sets the children.
    sigma_offset_angst
        Width of the prior of the particle's whole offset around zero.
    log_prior_direction
        (directions,) log of the learned direction histogram, or None for a flat one.
    local_sigma_deg
        Width of the local search around the previous pose, or None for a global search.
    cross_correlation
        Winner takes all by normalised correlation (`--firstiter_cc`).
    scale_shells
        (N/2 + 1,) bool: shells that estimate the group scale (SSNR > 3).
    """

    sphere: Sphere
    pixel_size_angst: float
    particle_diameter_angst: float
    coarse_radius: int
    radius: int
    noise: Tensor
    scale: Tensor
    norm_average: float
    grid: OrientationGrid
    offsets_angst: Tensor
    offset_step_angst: float
    sigma_offset_angst: float
    log_prior_direction: Tensor | None = None
    local_sigma_deg: float | None = None
    cross_correlation: bool = False
    scale_shells: Tensor | None = None
    adaptive_fraction: float = 0.999

    @property
    def box_px(self) -> int:
        """Box of the images and of the map."""
        return self.sphere.box_px


@dataclass
class ShardSums:
    """Sufficient statistics of a shard (docs/algorithm.md, section 3), all float64 apart from the grid.

    Attributes
    ----------
    volume
        D and W, not yet made Hermitian.
    noise
        (o, s) sum over particles of sum_w w |X - P|^2 over the half plane.
    weight
        (o,) sum of posterior weights.
    scale_cross, scale_power
        (g,) sums of X P and P^2 over the shells that estimate the scale.
    offset_square
        Sum of w |offset|^2, in square Angstrom.
    directions
        (directions,) sum of weights.
    table
        Per-particle columns, in shard order.
    """

    volume: Accumulator
    noise: Tensor
    weight: Tensor
    scale_cross: Tensor
    scale_power: Tensor
    directions: Tensor
    offset_square: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    table: dict[str, Tensor] = field(default_factory=dict)

    def append(self, columns: dict[str, Tensor]) -> None:
        """Add the rows of one block of particles."""
        for name, column in columns.items():
            column = column.cpu()
            self.table[name] = torch.cat((self.table[name], column)) if name in self.table else column
