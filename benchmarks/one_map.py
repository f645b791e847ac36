"""What the shipped U-net gains on a single map of known SSNR over the Wiener filter in the true mask.

    python benchmarks/one_map.py [--seed 1]

Signals are maps of held-out models (2 Å voxels, B = 60 Å²); white noise is added, of the power per coefficient in the
mask that the signal has at 6 to 12 Å, so the SSNR of every shell is known in closed form. The network has it in the
place of the FSC, and no second map. Gains are of the FSC with the signal, averaged per map over the shells of a bin
of F = SSNR / (1 + SSNR); intervals of 95 % by bootstrap over maps. Minutes of one core.
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.config.regulariser import BlushSettings, RegulariserSettings
from blush.fourier.fsc import fsc, power_spectrum
from blush.regularise.from_maps import half_maps
from blush.regularise.select import regulariser
from blush.simulate.particle import build_particle_of
from blush.simulate.settings import SimulateConfig
from blush.training.models import read_models

NAMES = ("1d66", "1fdo", "1jmc", "1ors", "1u19", "2src", "3mht", "4opj")
RESOLUTIONS_ANGST = (7.0, 9.0, 12.0, 8.0, 10.0, 6.0, 7.0, 9.0)
VOXEL_ANGST = 2.0
EDGES = (0.02, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99)
PACK = Path(__file__).parents[1] / "config/training/models.npz"


def gains(name: str, resolution_angst: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """F of every shell, and the gain there with the network's own mask, and in the true one."""
    model = next(one for one in read_models(PACK) if one.row.name == name)
    if model.row.split != "test":
        raise SystemExit(f"{name} is not held out")
    diameter_angst = 2 * model.atoms.radius_angst + 10
    box = 2 * round(1.3 * diameter_angst / VOXEL_ANGST / 2)
    imaging = {"box_px": box, "pixel_size_angst": VOXEL_ANGST, "envelope_bfactor_angst2": 60}
    particle = build_particle_of(model.atoms, None, SimulateConfig.model_validate({"imaging": imaging}))
    mask = particle.mask.float()
    signal = particle.volume().float() * mask
    power = power_spectrum(signal)
    noise = power[round(box * VOXEL_ANGST / resolution_angst)]  # per coefficient of the masked map
    white = torch.randn((box,) * 3, generator=torch.Generator().manual_seed(seed))
    noisy = signal + white * (noise / (box**3 * mask.double().square().mean())).sqrt().float()
    known = (power / (power + noise)).numpy()
    maps = half_maps(noisy, noisy, VOXEL_ANGST, particle_diameter_angst=diameter_angst, fsc=known, mask=mask, seed=seed)
    network = regulariser(RegulariserSettings(name="blush", blush=BlushSettings(stride_px=32)))
    made, wiener = network.regularise(maps).references[0], maps.wiener(0) * mask

    def with_signal(volume: Tensor) -> np.ndarray:
        return np.nan_to_num(fsc(volume, signal).numpy())

    return known, with_signal(made) - with_signal(wiener), with_signal(made * mask) - with_signal(wiener)


def main() -> None:
    """Print a table of bins."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    seed = parser.parse_args().seed
    torch.set_num_threads(1)
    found = [gains(*one, seed + i) for i, one in enumerate(zip(NAMES, RESOLUTIONS_ANGST, strict=True))]
    random = np.random.default_rng(seed)
    for which, label in ((1, "own mask"), (2, "true mask")):
        for low, high in pairwise(EDGES):
            inside = [(one[0] >= low) & (one[0] < high) & (np.arange(len(one[0])) > 0) for one in found]
            means = [one[which][k].mean() for one, k in zip(found, inside, strict=True) if k.any()]
            drawn = random.choice(means, (5000, len(means))).mean(1)
            least, most = np.quantile(drawn, (0.025, 0.975))
            span = f"F {low:.2f} to {high:.2f}  {len(means)} maps"
            print(f"{label:9}  {span}  {np.mean(means):+.3f}  [{least:+.3f}, {most:+.3f}]")


if __name__ == "__main__":
    main()
