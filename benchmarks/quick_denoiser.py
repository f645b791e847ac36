"""Train a small Blush network for minutes on simulated half-maps: enough to put the machinery to use, not to ship.

    python benchmarks/quick_denoiser.py MODELS OUT.safetensors [--minutes 30] [--width 8] [--depth 4]

MODELS is a folder of atomic models with `index.csv` (columns file, kind, assembly_ops, extent_a). Whatever demos,
tests and benchmarks refine is held out, and so is every protein-RNA complex. Truth is the simulator's map at 1.5 Å; a
half-map is that map with a B-factor and coloured noise, low-passed by an anisotropic Gaussian; the target is the map
itself, low-passed nearly isotropically (Kimanius et al. 2024, eq. 1, with the noise-free map for the other half).
One thread, and minutes of processor time; weights are written once a minute, and --start goes on from some.
"""

import argparse
import csv
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.denoise.apply import local_deviation
from blush.denoise.card import BLUSH, Card
from blush.denoise.unet import UNet3d, denoise_patches
from blush.denoise.weights import load_weights, save_weights
from blush.fourier.filter import raised_cosine
from blush.fourier.fsc import power_spectrum
from blush.simulate.particle import build_particle
from blush.simulate.settings import load_settings

BOX_PX, PIXEL_ANGST, MARGIN_PX = 96, 1.5, 10
HELD_OUT = {"8uv2", "8eow", "1e9g", "1k4c", "1bxn", "2src", "1ake", "1u19"}
LARGEST_EXTENT_ANGST = 115
STAGES = ((0.3, 32, 4), (0.4, 48, 2), (0.3, 64, 2))
"""Share of the time, side of the patches, patches per step."""


def truths(models: Path, cache: Path, count: int) -> tuple[Tensor, Tensor]:
    """(n, 96, 96, 96) float16 maps of unit variance inside their masks, and the masks."""
    if cache.exists():
        stored = np.load(cache)
        return torch.from_numpy(stored["maps"]), torch.from_numpy(stored["masks"])
    rows = [r for r in csv.DictReader((models / "index.csv").open()) if usable(r)]
    chosen = np.random.default_rng(1).permutation(len(rows))[:count]
    maps, masks = [], []
    for row in (rows[i] for i in chosen):
        settings = load_settings(
            None,
            {
                "specimen": {"model": str(models / row["file"]), "copies": "none"},
                "imaging": {"box_px": BOX_PX, "pixel_size_angst": PIXEL_ANGST, "envelope_bfactor_angst2": 30},
                "output": str(cache.parent),
            },
        )
        try:
            particle = build_particle(settings)
        except Exception as error:
            print("left out", row["file"], error)
            continue
        volume, mask = particle.volume(), particle.mask
        maps.append((volume / volume[mask > 0.5].std()).half())
        masks.append(mask.half())
        print("truth", len(maps), row["file"], flush=True)
    np.savez(cache, maps=torch.stack(maps).numpy(), masks=torch.stack(masks).numpy())
    return torch.stack(maps), torch.stack(masks)


def usable(row: dict[str, str]) -> bool:
    extent = max(int(side) for side in row["extent_a"].split("x"))
    small = extent <= LARGEST_EXTENT_ANGST and int(row["assembly_ops"] or 1) == 1
    return small and row["kind"] != "protein-nucleic" and row["file"].split(".")[0] not in HELD_OUT


class HalfMapPatches:
    """Simulated half-map patches of a side, made on the fly."""

    def __init__(self, maps: Tensor, masks: Tensor, seed: int) -> None:
        self.maps, self.masks = maps, masks
        self.generator = torch.Generator().manual_seed(seed)
        self.spectra = [power_spectrum(m.float()) for m in maps]

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def __call__(self, side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Input (2, s, s, s), target (s, s, s) and mask (s, s, s)."""
        index = int(torch.randint(len(self.maps), (), generator=self.generator))
        wide = side + 2 * MARGIN_PX
        truth, mask, sphere = self._turned(index, wide)
        frequency = torch.fft.fftfreq(wide, PIXEL_ANGST)
        fz, fy, fx = torch.meshgrid(frequency, frequency, frequency[: wide // 2 + 1].abs(), indexing="ij")
        radius = (fz**2 + fy**2 + fx**2).sqrt()
        signal = torch.fft.rfftn(truth) * torch.exp(-self._uniform(0, 120) / 4 * radius**2)
        d_angst = math.exp(self._uniform(math.log(3.5), math.log(32)))
        noise = torch.fft.rfftn(torch.randn(wide, wide, wide, generator=self.generator))
        noise *= self._noise_level(index, radius, d_angst)
        if self._uniform(0, 1) < 0.5:  # refinement knows nothing beyond its current image size
            noise *= radius < self._uniform(1.0, 1.6) / d_angst
        # The maps of a refinement are not filtered at all: half of the inputs are hardly.
        width_angst = d_angst * (0.8 if self._uniform(0, 1) < 0.5 else self._uniform(0.2, 0.5))
        blur, target_blur = (self._gaussian((fz, fy, fx), width_angst, ratio) for ratio in (2.5, 1.3))
        noisy = torch.fft.irfftn((signal + noise) * blur, s=(wide,) * 3)
        clean = torch.fft.irfftn(signal * target_blur, s=(wide,) * 3)
        deviation = local_deviation(noisy)
        core = slice(MARGIN_PX, MARGIN_PX + side)
        cut = (core, core, core)
        seen = sphere if self._uniform(0, 1) < 0.6 else torch.ones(())
        inputs = torch.stack([noisy * seen, deviation * seen])
        return inputs[:, *cut], (clean * seen)[cut], mask[cut]

    def _turned(self, index: int, wide: int) -> tuple[Tensor, Tensor, Tensor]:
        """A crop of a randomly turned map, its mask, and a sphere around the whole particle."""
        quaternion = torch.randn(4, generator=self.generator)
        w, x, y, z = (quaternion / quaternion.norm()).tolist()
        rotation = torch.tensor(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        centre = (torch.rand(3, generator=self.generator) - 0.5) * 2 * self._uniform(0, 26)
        axis = torch.arange(wide) - wide / 2
        grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1) @ rotation.T + centre
        stack = torch.stack([self.maps[index], self.masks[index]]).float()[None]
        both = torch.nn.functional.grid_sample(stack, (grid / (BOX_PX / 2))[None], align_corners=False)[0]
        sphere = raised_cosine(grid.norm(dim=-1), self._uniform(38, 50), 6)
        return both[0], both[1], sphere

    def _noise_level(self, index: int, radius: Tensor, d_angst: float) -> Tensor:
        """Amplitude of the noise's transform: the FSC inside the mask is 1/7 at d."""
        inside = float(self.masks[index].float().mean())
        shell = min(int(BOX_PX * PIXEL_ANGST / d_angst), BOX_PX // 2 - 1)
        wanted = 6 * float(self.spectra[index][shell]) / inside / BOX_PX**3
        power, corner = self._uniform(0, 1.5), self._uniform(0.1, 0.3)
        shape = 0.05 + (radius / corner) ** power
        at_d = 0.05 + (1 / d_angst / corner) ** power
        return (wanted * shape / at_d).sqrt()

    def _gaussian(self, frequency: tuple[Tensor, Tensor, Tensor], d_angst: float, ratio: float) -> Tensor:
        """Anisotropic Gaussian that is 1/7 at d along a random axis and at d/ratio across it."""
        axis = torch.randn(3, generator=self.generator)
        axis = axis / axis.norm()
        along = sum(f * a for f, a in zip(frequency, axis.tolist(), strict=True)) ** 2
        total = sum(f**2 for f in frequency)
        stretch = self._uniform(1, ratio) ** -2
        return torch.exp(-math.log(7) * d_angst**2 * (along + (total - along) * stretch))


def loss_of(network: UNet3d, inputs: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Squared error at the input's own standardisation, and the mask's cross-entropy."""
    denoised, logit = denoise_patches(network, inputs)
    deviation = inputs[:, :1].std((1, 2, 3, 4), keepdim=True) + 1e-12
    error = torch.nn.functional.mse_loss(denoised / deviation, target[:, None] / deviation)
    return error + 0.1 * torch.nn.functional.binary_cross_entropy_with_logits(logit[:, 0], mask.clamp(0, 1))


def save(out: Path, network: UNet3d, width: int, depth: int, note: str) -> None:
    card = Card(BLUSH, width, depth, source=f"benchmarks/quick_denoiser.py: {note}", licence="BSD-3-Clause",
                input_kind="simulated unfiltered half-map")  # fmt: skip
    save_weights(out, network.state_dict(), card)


def train(patches: HalfMapPatches, out: Path, minutes: float, width: int, depth: int, start: Path | None) -> None:
    torch.manual_seed(1)
    network = UNet3d(width=width, depth=depth).train()
    if start is not None:
        network.load_state_dict(load_weights(start).network.state_dict())
    average = UNet3d(width=width, depth=depth)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), 1e-3, betas=(0.9, 0.99), weight_decay=1e-4)
    begun, step, told = time.process_time(), 0, 0.0
    recent: list[float] = []
    while (share := (time.process_time() - begun) / (60 * minutes)) < 1:
        first, (side, batch) = 0.0, (0, 0)
        for part, s, b in STAGES:
            if share >= first:
                side, batch = s, b
            first += part
        for group in optimiser.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        inputs, target, mask = (
            torch.stack(parts) for parts in zip(*(patches(side) for _ in range(batch)), strict=True)
        )
        loss = loss_of(network, inputs, target, mask)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        step += 1
        decay = min(0.999, step / (step + 20))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                mean.lerp_(now, 1 - decay)
        recent.append(float(loss.detach()))
        if time.process_time() - told > 60:
            told = time.process_time()
            print(f"{share:5.1%} step {step} side {side} loss {np.mean(recent[-200:]):.4f}", flush=True)
            save(out, average, width, depth, f"{step} steps, {minutes * share:.0f} min on one core")
    save(out, average, width, depth, f"{step} steps, {minutes:g} min on one core")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--truths", type=int, default=50)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    maps, masks = truths(chosen.models, chosen.out.with_suffix(".truths.npz"), chosen.truths)
    patches = HalfMapPatches(maps, masks, chosen.seed)
    train(patches, chosen.out, chosen.minutes, chosen.width, chosen.depth, chosen.start)


if __name__ == "__main__":
    main()
