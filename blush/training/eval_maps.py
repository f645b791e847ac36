"""Half-maps to judge a denoiser on, and what each method makes of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config.regulariser import BlushSettings, CrefSettings, LocalWienerSettings, RegulariserSettings
from blush.config.training import TrainingConfig
from blush.fourier.filter import resize_volume
from blush.regularise.drive import Policy, drive
from blush.regularise.from_maps import half_maps
from blush.regularise.select import regulariser
from blush.training.store import Entry, Store
from blush.training.synthesis import simulated_pair
from blush.validate.phase_randomise import solvent_corrected_fsc

Floats = NDArray[np.float64]
MARGIN = 1.3
"""Side of the box over the diameter of the particle."""
FINEST_ANGST, COARSEST_ANGST = 4.2, 20.0
STRIDE_PX = 32
NETWORK, WIENER = "network", "wiener"


@dataclass(frozen=True)
class TestPair:
    """Two half-maps, what they are of, and where it lies.

    Attributes
    ----------
    signal
        (N, N, N): what is in both halves but for their noise; None where that is not known.
    """

    __test__ = False  # not a test of pytest

    name: str
    kind: str
    halves: tuple[Tensor, Tensor]
    signal: Tensor | None
    mask: Tensor
    voxel_size_angst: float
    diameter_angst: float


def chosen_pairs(config: TrainingConfig, store: Store) -> Iterator[TestPair]:
    """Half-maps of held-out entries: those with halves as they are, the others with simulated halves.

    Resolutions of simulated ones are spread evenly in their logarithm from 4.2 to 20 Å.
    """
    entries = list(store.select("test"))
    random = np.random.default_rng([config.seed, 65537])
    real = [e for e in entries if "half1" in e.channels]
    made = [e for e in entries if "half1" not in e.channels]
    count = min(config.evaluate.maps, len(real)) if not made else min(config.evaluate.maps // 3, len(real))
    for index in sorted(random.permutation(len(real))[:count]):
        yield from_halves(store, real[index])
    wanted = config.evaluate.maps - count if made else 0
    order = [made[i] for i in random.permutation(len(made))]
    lowest = max(FINEST_ANGST, 2.2 * store.voxel_size_angst)
    for number in range(wanted):
        share = (number + 0.5) / wanted
        resolution = float(np.exp(np.log(lowest) + share * np.log(COARSEST_ANGST / lowest)))
        source = np.random.default_rng([config.seed, 257, number])
        yield from_truth(store, order[number % len(order)], source, resolution)


def kind_of(entry: Entry) -> str:
    """Where an entry is from: simulated, refined particles, or a published structure."""
    return "refined" if {"half1", "truth"} <= set(entry.channels) else entry.source


def from_halves(store: Store, entry: Entry) -> TestPair:
    """The halves of an entry, as they are."""
    maps = {name: torch.from_numpy(np.array(values)).float() for name, values in store.maps(entry).items()}
    mask = maps["mask"].clamp(0, 1)
    diameter = _diameter(mask, store.voxel_size_angst)
    halves = maps["half1"], maps["half2"]
    return TestPair(entry.name, kind_of(entry), halves, maps.get("truth"), mask, store.voxel_size_angst, diameter)


def from_truth(store: Store, entry: Entry, random: np.random.Generator, resolution_angst: float) -> TestPair:
    """Simulated halves of an entry, in a box not much larger than the particle."""
    voxel = store.voxel_size_angst
    maps = {name: torch.from_numpy(np.array(values)).float() for name, values in store.maps(entry).items()}
    diameter = _diameter(maps["mask"], voxel)
    box = min(entry.box_px, 2 * round(MARGIN * diameter / voxel / 2))
    truth, mask = (_cropped(maps[name], box) for name in ("truth", "mask"))
    half1, half2, signal = simulated_pair(truth, mask, voxel, random, resolution_angst)
    name = f"{entry.name} at {resolution_angst:.1f} Å"
    return TestPair(name, "simulated", (half1, half2), signal, mask.clamp(0, 1), voxel, diameter)


def resampled(pair: TestPair, voxel_size_angst: float) -> TestPair:
    """The same pair at another voxel size."""
    box = 2 * round(len(pair.mask) * pair.voxel_size_angst / voxel_size_angst / 2)

    def moved(values: Tensor) -> Tensor:
        return resize_volume(values, pair.voxel_size_angst, box, voxel_size_angst)

    signal = None if pair.signal is None else moved(pair.signal)
    halves = moved(pair.halves[0]), moved(pair.halves[1])
    return TestPair(
        pair.name, pair.kind, halves, signal, moved(pair.mask).clamp(0, 1), voxel_size_angst, pair.diameter_angst
    )


def _cropped(volume: Tensor, box: int) -> Tensor:
    """Central part of a cubic map."""
    first = volume.shape[-1] // 2 - box // 2
    part = slice(first, first + box)
    return volume[part, part, part].contiguous()


def _diameter(mask: Tensor, voxel_size_angst: float) -> float:
    """Of the sphere around a mask, inside the box."""
    where = torch.nonzero(mask > 0.5) - mask.shape[-1] // 2
    radius = float(where.double().norm(dim=1).max()) if len(where) else mask.shape[-1] / 2
    return 2 * min(radius, mask.shape[-1] / 2 - 3) * voxel_size_angst


@dataclass(frozen=True)
class Method:
    """A regulariser as it is judged."""

    name: str
    settings: RegulariserSettings

    @property
    def learned(self) -> bool:
        """Whether it is the network."""
        return self.name == NETWORK


def methods(config: TrainingConfig, weights: Path) -> list[Method]:
    """The network first, then its rivals; Wiener is always among them."""
    arch = config.network.arch
    sections = {"blush": BlushSettings(weights=weights, stride_px=STRIDE_PX, cpu_minutes=1e6)}
    if arch == "localwiener":
        network = RegulariserSettings(name="localwiener", localwiener=LocalWienerSettings(weights=weights))
    elif arch == "blush":
        network = RegulariserSettings(name="blush", blush=sections["blush"])
    else:
        network = RegulariserSettings(name="cref", cref=CrefSettings(weights=weights))
    rivals = dict.fromkeys((WIENER, *config.evaluate.rivals))
    return [Method(NETWORK, network), *(Method(name, RegulariserSettings(name=name)) for name in rivals)]


def corrected_fsc(pair: TestPair, seed: int = 1) -> Floats:
    """FSC of the halves in the true mask, as a refinement corrects it: (N / 2 + 1,)."""
    return solvent_corrected_fsc(*pair.halves, pair.mask, seed).cpu().numpy().astype(np.float64)


def apply(
    method: Method, pair: TestPair, seed: int = 1, curve: Floats | None = None
) -> tuple[tuple[Tensor, Tensor], float]:
    """References that a method makes of a pair, without trailing, and the seconds it took.

    Classical methods get the true mask afterwards; the network has to find it.

    Parameters
    ----------
    curve
        (N / 2 + 1,) FSC to be taken for that of the halves; None: their own.
    """
    chosen = regulariser(method.settings)
    maps = half_maps(
        *pair.halves,
        pair.voxel_size_angst,
        particle_diameter_angst=pair.diameter_angst,
        fsc=corrected_fsc(pair, seed) if curve is None else curve,
        mask=pair.mask,
        seed=seed,
        pad=2 if {"sums", "weights"} & set(chosen.reads) else 1,
    )
    begun = time.perf_counter()
    made = drive(chosen, maps, Policy(trailing_shells=None, fallback="wiener")).references
    seconds = time.perf_counter() - begun
    return (made if method.learned else (made[0] * pair.mask, made[1] * pair.mask)), seconds
