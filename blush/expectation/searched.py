"""Which poses a model searches: the offsets, and what is known of every image's pose."""

from __future__ import annotations

import torch

from blush.expectation.filament_prior import FilamentPrior
from blush.expectation.known_poses import Neighbourhoods, PosePriors
from blush.expectation.memory import LOCAL_NEIGHBOURS
from blush.expectation.model import Model
from blush.expectation.offsets import FrameOffsets, SharedOffsets
from blush.expectation.pose_prior import AnchoredPrior
from blush.fourier.packed import Packed

Offsets = SharedOffsets | FrameOffsets


def searched(
    model: Model, pixels: Packed, dtype: torch.dtype, device: torch.device
) -> tuple[Offsets, PosePriors | None]:
    """Offsets of a model, and priors of poses where images have poses of their own: None in global searches."""
    if model.filament is not None and not model.fixed_poses:
        offsets = FrameOffsets(model, pixels, dtype, device)
        return offsets, FilamentPrior(model, offsets, dtype, device)
    shared = SharedOffsets(model, pixels, dtype, device)
    if model.motion is not None:
        return shared, AnchoredPrior(model, device, LOCAL_NEIGHBOURS)
    if model.local_sigma_deg is not None:
        return shared, Neighbourhoods(model, device, LOCAL_NEIGHBOURS)
    return shared, None
