"""What the log likelihood of a masked image is divided by, which takes its correlated noise for independent."""

from __future__ import annotations

import torch

from blush.config import RunConfig
from blush.expectation.prepare import MASK_EDGE_PX
from blush.fourier.mask import soft_circle
from blush.io.optics import OpticsGroup


def mask_temperature(config: RunConfig, optics: OpticsGroup) -> float:
    """By how much a likelihood of masked images is too sure.

    The transform of a masked image is correlated, as if it had fewer components than it has: by the mean square of the
    mask. Its variance is measured with the mask, so that a likelihood which adds up all components is too sure by that.
    """
    radius_px = config.particle_diameter_angst / (2 * optics.pixel_size_angst)
    mask = soft_circle(optics.box_px, radius_px, MASK_EDGE_PX, dtype=torch.float64)
    return 1 / float(mask.square().mean())
