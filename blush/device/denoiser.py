"""How fast the network of Blush is on a device."""

from __future__ import annotations

import torch

from blush.config.regulariser import RegulariserSettings
from blush.denoise.card import BLUSH
from blush.denoise.unet import denoise_patches
from blush.denoise.weights import load_weights
from blush.device.clock import seconds

BATCH = {"cuda": 8, "cpu": 1}


def patches_per_second(device: torch.device) -> float:
    """Passes of one patch through the network that comes with Blush, with the type of number that a run takes there."""
    weights = load_weights(RegulariserSettings(name="blush").blush.file, BLUSH)
    side, batch = weights.card.block_px, BATCH[device.type]
    network = weights.network.to(device)
    patches = torch.randn(batch, 2, side, side, side, generator=torch.Generator().manual_seed(1)).to(device)

    def work() -> None:
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            denoise_patches(network, patches)

    return batch / seconds(work, device)
