"""Soft masks: spheres, circles, and the growing and softening of any binary region."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.grid import centred_radius


def soft_sphere(
    box: int,
    radius_px: float,
    edge_px: float,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """1 up to `radius_px` from the centre voxel, falling as a cosine to 0 at radius + edge: (box, box, box)."""
    return _outside_edge(centred_radius(box, 3, device) - radius_px, edge_px).to(dtype)


def soft_circle(
    box: int,
    radius_px: float,
    edge_px: float,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """1 up to `radius_px` from the centre pixel, falling as a cosine to 0 at radius + edge: (box, box)."""
    return _outside_edge(centred_radius(box, 2, device) - radius_px, edge_px).to(dtype)


def extend_and_soften(binary: Tensor, extend_px: float, edge_px: float) -> Tensor:
    """Grow a region by a Euclidean distance and give it a cosine edge outside.

    Parameters
    ----------
    binary
        (d, h, w) boolean, or real with the region above 1/2.
    extend_px
        Distance up to which the mask is 1.
    edge_px
        Further distance over which it falls to 0.

    Returns
    -------
    (d, h, w) in [0, 1]: float32 for a boolean input, else the dtype of the input.
    """
    region = (binary if binary.dtype == torch.bool else binary > 0.5).cpu().numpy()
    dtype = torch.float32 if binary.dtype == torch.bool else binary.dtype
    if not region.any():
        return torch.zeros(binary.shape, dtype=dtype, device=binary.device)
    distance = torch.from_numpy(np.asarray(ndimage.distance_transform_edt(~region), dtype=np.float64))
    return _outside_edge(distance - extend_px, edge_px).to(binary.device, dtype)


def _outside_edge(distance: Tensor, edge_px: float) -> Tensor:
    """1 where the distance is 0 or less, 0 from `edge_px` on."""
    return raised_cosine(distance, edge_px / 2, edge_px)
