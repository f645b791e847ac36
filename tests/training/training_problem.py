"""Small maps and a small training, which tests share."""

from pathlib import Path

import numpy as np
import torch

from blush.config.training import TrainingConfig
from blush.fourier.filter import low_pass
from blush.fourier.grid import centred_radius
from blush.training.store import add_entry, write_index

BOX_PX, VOXEL_ANGST = 40, 2.0


def blob(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A structured map with a variance of 1 inside its mask, and the mask."""
    noise = torch.randn((BOX_PX,) * 3, generator=torch.Generator().manual_seed(seed))
    mask = torch.sigmoid(10 - centred_radius(BOX_PX)).float()
    volume = (low_pass(noise, 7.0, VOXEL_ANGST) + 2 * low_pass(noise.flip(0), 25.0, VOXEL_ANGST).clamp_min(0)) * mask
    return volume / volume[mask > 0.5].std(), mask


def write_store(folder: Path) -> None:
    """Two truths, two pairs with a truth."""
    entries = []
    for number in range(4):
        truth, mask = blob(number)
        maps = {"truth": truth.numpy(), "mask": mask.numpy()}
        if number >= 2:
            noise = np.random.default_rng(number).standard_normal((2, *truth.shape)).astype(np.float32)
            maps |= {"half1": maps["truth"] + noise[0], "half2": maps["truth"] + noise[1]}
        source = "folder" if number >= 2 else "simulated"
        made = add_entry(folder, f"m{number}", maps, group=f"g{number}", split="train", source=source)
        entries.append(made)
    write_index(folder, VOXEL_ANGST, entries)


def training_config(**fit: object) -> TrainingConfig:
    content = {
        "name": "small",
        "network": {"width": 4, "depth": 3, "voxel_size_angst": VOXEL_ANGST, "dropout": 0.2},
        "sources": {"simulated": {"models": "models.npz"}},
        "fit": {
            "steps": 24,
            "stages": [{"share": 0.5, "block_px": 16, "batch": 4}, {"share": 0.5, "block_px": 24, "batch": 2}],
            "learning_rate": 2e-3,
            "warmup_steps": 5,
            "recursion": [0.6, 0.4],
        }
        | fit,
    }
    return TrainingConfig.model_validate(content)
