"""What of every image is compared: a circle about the particle, or a tube about a filament that passes through."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.expectation.model import Model
from blush.expectation.prepare import MASK_EDGE_PX, TubeMask
from blush.fourier.filter import raised_cosine
from blush.fourier.mask import soft_circle
from blush.geometry.helix import in_frame
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded

TUBE_EDGE_PX = 10.0
"""Of the tube and its circle: a segment's axis is known to some pixels at the ends of its box."""


class ImageMasks:
    """Masks of any images of an expectation step.

    Attributes
    ----------
    circle
        (N, N) of every image that is no segment of a filament.
    """

    def __init__(self, model: Model, dtype: torch.dtype, device: torch.device) -> None:
        self.model, self.radius_px = model, model.particle_diameter_angst / (2 * model.pixel_size_angst)
        edge_px = MASK_EDGE_PX if model.filament is None else TUBE_EDGE_PX
        self.circle = soft_circle(model.box_px, self.radius_px, edge_px, device, dtype)

    def of(self, particles: ParticleSet) -> Tensor | TubeMask:
        """The mask of images that are centred already.

        Raises
        ------
        ValueError
            Where segments of filaments came without the direction of their tracks.
        """
        filament = self.model.filament
        if filament is None:
            return self.circle
        if particles.filament_prior is None:
            raise ValueError("the tube of a segment needs filament_prior")
        psi_deg = uploaded(particles.filament_prior[:, 0], self.circle.device)
        tube = tubes(self.model.box_px, filament.tube_diameter_angst / (2 * self.model.pixel_size_angst), psi_deg)
        inside = torch.minimum(tube, self.circle.to(tube)).to(self.circle)
        return TubeMask(inside, (1 - tube).to(self.circle))


def tubes(box_px: int, radius_px: float, psi_deg: Tensor, edge_px: float = TUBE_EDGE_PX) -> Tensor:
    """1 up to a distance from the axis of each segment, falling as a cosine to 0: (b, N, N) float64.

    Parameters
    ----------
    radius_px
        Half the tube's diameter.
    psi_deg
        (b,) of the tracks.
    """
    line = torch.arange(box_px, dtype=torch.float64, device=psi_deg.device) - box_px // 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    across = in_frame(torch.stack((x, y), -1).expand(len(psi_deg), -1, -1, -1), psi_deg[:, None, None])[..., 1]
    return raised_cosine(across.abs() - radius_px, edge_px / 2, edge_px)
