"""Maps of bodies put back into the molecule, in any pose: turned about their own centres and blended where masks meet.

A body's map is re-centred: its centre c is the centre N/2 of its box. In the molecule, its point y lies at
R y + c + t, in Å from the centre of the box. Turning it about the centre of the box instead would displace it by
(R - 1) c.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from torch import Tensor

Floats = NDArray[np.float64]
_ORDER = 3
"""Degree of the splines that turned maps are interpolated with."""
_WHOLE = 1e-4
"""Rotations in rad and shifts in voxels below this move nothing."""


@dataclass(frozen=True)
class Pose:
    """Where a body is.

    Attributes
    ----------
    turn
        (3,) rotation vector of R in rad.
    place_angst
        (3,) c + t as x, y, z.
    """

    turn: Floats
    place_angst: Floats


def placed(volume: Tensor, pose: Pose, pixel_size_angst: float) -> Tensor:
    """A re-centred map (N, N, N) where its body is; what lies beyond its box is 0.

    A body that is not turned and moved by whole voxels keeps its values; any other is interpolated by cubic splines.
    """
    shift_px = pose.place_angst[::-1] / pixel_size_angst
    whole = np.rint(shift_px)
    if np.linalg.norm(pose.turn) < _WHOLE and np.abs(shift_px - whole).max() < _WHOLE:
        return _shifted(volume, [int(value) for value in whole])
    centre = np.array(volume.shape) // 2
    back = Rotation.from_rotvec(pose.turn).as_matrix().T[::-1, ::-1]
    array = volume.numpy()
    found = affine_transform(array, back, centre - back @ (centre + shift_px), order=_ORDER, output=array.dtype)
    return torch.from_numpy(found)


def blended(maps: list[Tensor], masks: list[Tensor]) -> Tensor:
    """One map (N, N, N) of placed maps: their mean by masks, where masks add up to more than 1; 0 outside of all.

    Parameters
    ----------
    maps, masks
        (N, N, N) each, of the same bodies; masks from 0 to 1.
    """
    total = torch.stack(masks).sum(0).clamp_min(1)
    return torch.stack([volume * mask for volume, mask in zip(maps, masks, strict=True)]).sum(0) / total


def _shifted(volume: Tensor, by_px: list[int]) -> Tensor:
    """A map (N, N, N) moved by whole voxels z, y, x; what comes in is 0."""
    out = torch.zeros_like(volume)
    pairs = [
        (slice(max(0, -by), min(size, size - by)), slice(max(0, by), min(size, size + by)))
        for by, size in zip(by_px, volume.shape, strict=True)
    ]
    source, target = (tuple(pair[k] for pair in pairs) for k in (0, 1))
    out[target] = volume[source]
    return out
