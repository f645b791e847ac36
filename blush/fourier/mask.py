"""Soft masks: spheres, circles, any region grown and softened, and the solvent mask of a map."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from blush.fourier.filter import low_pass, raised_cosine
from blush.fourier.grid import centred_radius
from blush.io.upload import uploaded

NOISE_FACTOR = 4.0
"""Standard deviations of the solvent above which a voxel is density."""
PEAK_FRACTION = 0.1
"""Fraction of the strongest density above which a voxel is density, in a map of little noise."""
PEAK_SHARE = 0.005
"""Share of the voxels in the particle's sphere that are averaged as its strongest density."""
PART_SHARE = 0.1
"""Volume of a separate part, relative to the largest, from which it belongs to the particle."""
SMALLEST_SHARE = 0.01
"""Volume of all density, relative to the particle's sphere, below which it is taken for noise."""


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
    return uploaded(_outside_edge(distance - extend_px, edge_px).to(dtype), binary.device)


def _outside_edge(distance: Tensor, edge_px: float) -> Tensor:
    """1 where the distance is 0 or less, 0 from `edge_px` on."""
    return raised_cosine(distance, edge_px / 2, edge_px)


def auto_mask(
    volume: Tensor,
    pixel_size_angst: float,
    particle_diameter_angst: float,
    lowpass_angst: float = 15.0,
    extend_px: float = 3.0,
    edge_px: float = 6.0,
) -> Tensor:
    """A loose solvent mask made from a map: nothing of the particle is cut, and the solvent far from it is removed.

    The map is low-passed; density is what exceeds both the solvent's noise, measured outside the particle's sphere,
    and a small fraction of the strongest density. The largest connected parts are kept, their holes filled, grown
    and softened. Where less than 1 % of the sphere stands out, the map does not say where the particle is, and the
    mask is the sphere.

    Parameters
    ----------
    volume
        (N, N, N), density positive.
    particle_diameter_angst
        Sphere that holds the particle.
    lowpass_angst
        Filter before thresholding; take it no finer than the resolution of the map.
    extend_px, edge_px
        Growth, and width of the cosine edge beyond it.

    Returns
    -------
    (N, N, N) in [0, 1], dtype and device of the input.
    """
    box = volume.shape[-1]
    particle = solid_density(volume, pixel_size_angst, particle_diameter_angst, lowpass_angst)
    sphere_px = _sphere_px(box, pixel_size_angst, particle_diameter_angst)
    inside = centred_radius(box, 3, volume.device) < sphere_px
    if particle.sum() < SMALLEST_SHARE * float(inside.sum()):
        return soft_sphere(box, sphere_px, edge_px, volume.device, volume.dtype)
    return extend_and_soften(particle, extend_px, edge_px).to(volume)


def solid_density(
    volume: Tensor, pixel_size_angst: float, particle_diameter_angst: float, lowpass_angst: float = 15.0
) -> Tensor:
    """Where a low-passed map stands out of the solvent: the largest connected parts, their holes filled.

    Parameters
    ----------
    volume
        (N, N, N), density positive.
    particle_diameter_angst
        Sphere that holds the particle.
    lowpass_angst
        Filter before thresholding.

    Returns
    -------
    (N, N, N) boolean, on the device of the input.
    """
    radius = centred_radius(volume.shape[-1], 3, volume.device)
    sphere_px = _sphere_px(volume.shape[-1], pixel_size_angst, particle_diameter_angst)
    filtered = low_pass(volume, max(lowpass_angst, 2 * pixel_size_angst), pixel_size_angst)
    density = (filtered > _solvent_threshold(filtered, radius, sphere_px)) & (radius < sphere_px)
    return uploaded(_largest_parts(density.cpu().numpy()), volume.device)


def _sphere_px(box: int, pixel_size_angst: float, particle_diameter_angst: float) -> float:
    """Radius of the particle's sphere, in the box."""
    return min(particle_diameter_angst / (2 * pixel_size_angst), box / 2 - 1)


def _solvent_threshold(filtered: Tensor, radius: Tensor, sphere_px: float) -> Tensor:
    """Level above which a voxel is density; robust against density that leaves the sphere."""
    box = filtered.shape[-1]
    # A sphere that fills the box leaves no solvent outside it: the outermost layer serves instead.
    solvent = filtered[(radius > min(sphere_px, 0.45 * box)) & (radius <= box / 2)]
    level = solvent.median()
    noise = 1.4826 * (solvent - level).abs().median()
    inside = filtered[radius < sphere_px]
    peak = inside.topk(max(1, int(PEAK_SHARE * len(inside)))).values.mean() - level
    return level + torch.maximum(NOISE_FACTOR * noise, PEAK_FRACTION * peak)


def _largest_parts(density: np.ndarray) -> np.ndarray:
    """Connected parts (by faces, edges and corners) of some size, without holes."""
    labels, count = ndimage.label(density, np.ones((3, 3, 3)))
    if count == 0:
        return density
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = sizes >= PART_SHARE * sizes.max()
    kept[0] = False
    return np.asarray(ndimage.binary_fill_holes(kept[labels]))
