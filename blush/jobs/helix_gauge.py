"""Halves that were refined apart may lie upside down to each other: the second turned so that it lies as the first."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.backproject import Accumulator
from blush.helix.symmetrise import moved_along_screw
from blush.maximization.reconstruct import reconstruct
from blush.validate.compare import into_true_frame
from blush.validate.helix_truth import helix_drift
from blush.validate.poses import Drift

OPPOSITE = 1.1
"""By how much halves must agree better once one is turned over: of a map with a dyad across its axis both agree."""


def is_opposite(first: Tensor, second: Tensor, mask: Tensor, pixel_size_angst: float, rise_angst: float) -> bool:
    """Whether two maps are more alike once the second is turned over.

    Parameters
    ----------
    first, second, mask
        (N, N, N), with the axis along z.
    """
    return _opposite(first, second, mask, pixel_size_angst, rise_angst) is not None


@dataclass(frozen=True)
class Turned:
    """A half that was laid as the other.

    Attributes
    ----------
    sums
        Those of the map V'(x, y, z) = V(R(angle) (x, y), z - shift), V being the map turned over about x.
    angle_deg, shift_angst
        That angle and shift.
    """

    sums: Accumulator
    angle_deg: float
    shift_angst: float


def as_the_first(
    first: Accumulator, second: Accumulator, mask: Tensor, pixel_size_angst: float, rise_angst: float
) -> Turned | None:
    """Sums of the second half turned over, turned about the axis and moved along it to lie as the first; or None.

    Polarity, turn and place of a helix are free: each half finds its own unless the first reference says them. What the
    second half learns is how its map lies to the first, nothing of what is in that.

    Parameters
    ----------
    first, second
        Hermitian.

    Returns
    -------
    None where the halves lie alike as they are.
    """
    maps = [reconstruct(half, None) for half in (first, second)]
    mask = mask.to(maps[0])
    drift = _opposite(maps[0], maps[1], mask, pixel_size_angst, rise_angst)
    if drift is None:
        return None
    back = drift.rotation.T
    angle, shift = math.atan2(-float(back[0, 1]), float(back[0, 0])), float(drift.shift_angst[2])
    over = Accumulator(second.grid.flip(0, 1).contiguous(), second.box_px, second.r_max, second.pad)
    grid = moved_along_screw(over, angle, -shift / pixel_size_angst)
    sums = Accumulator(grid, second.box_px, second.r_max, second.pad)
    return Turned(sums, math.degrees(angle), shift)


def _opposite(first: Tensor, second: Tensor, mask: Tensor, pixel_size_angst: float, rise_angst: float) -> Drift | None:
    """How the second map lies to the first, where it does so upside down and is more alike once turned over."""
    drift = helix_drift(second, first, mask, pixel_size_angst, rise_angst)
    if drift.rotation[2, 2] > 0:
        return None
    turned = into_true_frame(second, drift, pixel_size_angst)
    return drift if _alike(first, turned, mask) > OPPOSITE * _alike(first, second, mask) else None


def _alike(first: Tensor, second: Tensor, mask: Tensor) -> float:
    """Correlation of two maps in a mask, without their means; not below 0."""
    one, two = ((volume - (volume * mask).sum() / mask.sum()) * mask for volume in (first, second))
    return max(0.0, float((one * two).sum() / torch.sqrt(one.square().sum() * two.square().sum())))
