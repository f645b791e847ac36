"""Masks about the axis of a filament: a tube within a sphere, and the central part of it along z."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from blush.fourier.filter import raised_cosine
from blush.fourier.grid import centred_radius

EDGE_PX = 5.0
"""Width of the cosine edges."""


@dataclass(frozen=True)
class Tube:
    """Where a filament is: between two cylinders about z, inside a sphere.

    Parameters
    ----------
    outer_diameter_angst, inner_diameter_angst
        Diameters of the cylinders in Å; the inner one is 0 where there is none.
    sphere_diameter_angst
        Diameter of the sphere in Å; None: 0.9 of the box.
    """

    outer_diameter_angst: float
    inner_diameter_angst: float = 0.0
    sphere_diameter_angst: float | None = None

    def radii_px(self, pixel_size_angst: float) -> tuple[float, float]:
        """Radii of the outer and the inner cylinder in pixels."""
        return self.outer_diameter_angst / (2 * pixel_size_angst), self.inner_diameter_angst / (2 * pixel_size_angst)


def tube_mask(box: int, pixel_size_angst: float, tube: Tube, edge_px: float = EDGE_PX) -> Tensor:
    """Smaller of the weights of sphere and cylinders: 1 inside, falling as a cosine over `edge_px` outside.

    Returns
    -------
    (box, box, box) float32.
    """
    sphere_angst = tube.sphere_diameter_angst or 0.9 * box * pixel_size_angst
    sphere = _below(centred_radius(box, 3), sphere_angst / (2 * pixel_size_angst), edge_px)
    radius, (outer_px, inner_px) = centred_radius(box, 2), tube.radii_px(pixel_size_angst)
    cylinder = _below(radius, outer_px, edge_px)
    if inner_px > 0:
        cylinder = torch.minimum(cylinder, _below(-radius, -inner_px, edge_px))
    return torch.minimum(sphere, cylinder).float()


def central_mask(
    box: int, pixel_size_angst: float, tube: Tube, central_fraction: float, edge_px: float = EDGE_PX
) -> Tensor:
    """The tube's mask times that of the central part of the box along z.

    Parameters
    ----------
    central_fraction
        Part of the box along z where the mask is 1; it falls as a cosine over `edge_px` beyond.

    Returns
    -------
    (box, box, box) float32.

    References
    ----------
    Ends of a box are worse than its middle, so the FSC of a filament is measured there: He & Scheres 2017,
    doi:10.1016/j.jsb.2017.02.003.
    """
    along = central_weight(torch.arange(box, dtype=torch.float64) - box // 2, box, central_fraction, edge_px)
    return tube_mask(box, pixel_size_angst, tube, edge_px) * along[:, None, None].float()


def central_weight(z_px: Tensor, box: int, central_fraction: float, edge_px: float = EDGE_PX) -> Tensor:
    """1 where |z| is within half the central fraction of the box, falling as a cosine over `edge_px` beyond."""
    return _below(z_px.abs(), central_fraction * box / 2, edge_px)


def _below(distance: Tensor, limit: float, edge_px: float) -> Tensor:
    """1 up to a limit, 0 from `edge_px` beyond it."""
    return raised_cosine(distance, limit + edge_px / 2, edge_px)
