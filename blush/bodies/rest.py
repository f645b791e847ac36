"""What of a map the masks of its bodies leave: the mask of the body that is only subtracted."""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.mask import auto_mask


def rest_mask(volume: Tensor, masks: Tensor, pixel_size_angst: float, particle_diameter_angst: float) -> Tensor:
    """The automatic solvent mask of a map less the sum of the bodies' masks, where that is above 0.

    So inside of the solvent mask all masks add up to 1, wherever the given ones do not to more.

    Parameters
    ----------
    volume
        (N, N, N) the consensus, density positive.
    masks
        (B, N, N, N) values from 0 to 1.
    particle_diameter_angst
        Sphere that holds the particle.

    Returns
    -------
    (N, N, N) float32 in [0, 1].
    """
    solvent = auto_mask(volume, pixel_size_angst, particle_diameter_angst)
    return (solvent.double() - masks.double().sum(0)).clamp(0, 1).to(torch.float32)
