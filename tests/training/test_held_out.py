"""The shipped U-net on half-maps of molecules that it was not trained on, whose truth is known: its mask finds them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import training_config

from blush.denoise import whitened
from blush.fourier.fsc import fsc
from blush.simulate.particle import build_particle_of
from blush.simulate.settings import SimulateConfig
from blush.training.eval_hallucination import low_passed, pure_noise
from blush.training.eval_maps import Method, TestPair, apply, methods
from blush.training.models import read_models
from blush.training.synthesis import simulated_pair

ROOT = Path(__file__).parents[2]
VOXEL_ANGST = 2.0
BEHIND_WIENER, OVER_HALF, WORTH = 0.02, 0.1, 0.03
"""Mean FSC with the truth: behind Wiener's in the true mask at most; ahead of the half-map's, and of what it would be
without the mask, at least."""


def held_out(name: str, resolution_angst: float) -> TestPair:
    """Half-maps of a model of the test side of the split, in a box 1.3 times as wide as the molecule."""
    model = next(one for one in read_models(ROOT / "config/training/models.npz") if one.row.name == name)
    assert model.row.split == "test"
    diameter = 2 * model.atoms.radius_angst + 10
    box = 2 * round(1.3 * diameter / VOXEL_ANGST / 2)
    imaging = {"box_px": box, "pixel_size_angst": VOXEL_ANGST, "envelope_bfactor_angst2": 60}
    particle = build_particle_of(model.atoms, None, SimulateConfig.model_validate({"imaging": imaging}))
    volume, mask = particle.volume().float(), particle.mask.float()
    truth = volume / volume[mask > 0.5].std()
    made = simulated_pair(truth, mask, VOXEL_ANGST, np.random.default_rng(5), resolution_angst)
    return TestPair(name, "simulated", made[:2], made[2], mask, VOXEL_ANGST, diameter)


@pytest.fixture(scope="module")
def network() -> Method:
    """The shipped weights of the U-net, as an evaluation judges them."""
    return methods(training_config(), ROOT / "blush/denoise/data/w8d4.safetensors")[0]


def gains(network: Method, pair: TestPair) -> tuple[float, float]:
    """Mean FSC with the truth over Wiener in the true mask, and over the half-map: shells of an input's FSC > 0.1."""
    assert pair.signal is not None
    signal, mask = pair.signal, pair.mask
    seen = torch.nan_to_num(fsc(pair.halves[0] * mask, pair.halves[1] * mask)) > 0.1
    seen[0] = False

    def mean(volume: torch.Tensor) -> float:
        return float(torch.nan_to_num(fsc(volume, signal))[seen].mean())

    made, _ = apply(network, pair)
    wiener, _ = apply(Method("wiener", network.settings.model_copy(update={"name": "wiener"})), pair)
    return mean(made[0]) - mean(wiener[0]), mean(made[0]) - mean(pair.halves[0])


def test_its_own_mask_is_worth_having(network, monkeypatch) -> None:
    """Over the same network without it; and all in all no worse than Wiener in the true mask by more than 0.02."""
    pair = held_out("1ake", 8.0)
    over_wiener, over_half = gains(network, pair)
    assert over_wiener > -BEHIND_WIENER
    monkeypatch.setattr(whitened, "solvent", lambda volume, particle, plan: torch.zeros_like(volume))
    without = gains(network, pair)[1]
    assert over_half - without > WORTH


@pytest.mark.slow
@pytest.mark.parametrize(("name", "resolution_angst"), [("1d66", 12.0), ("2src", 7.0)])
def test_other_molecules_and_resolutions(network, name, resolution_angst) -> None:
    over_wiener, over_half = gains(network, held_out(name, resolution_angst))
    assert over_wiener > -BEHIND_WIENER
    assert over_half > OVER_HALF


@pytest.mark.slow
def test_masks_of_two_halves_make_no_noise_alike(network) -> None:
    """(b) and (c) of the evaluation, with the mask at work."""
    pair = held_out("1ake", 8.0)
    found = pure_noise(network, pair, torch.Generator().manual_seed(1)) + low_passed(network, pair)
    assert len(found) == 2
    assert all(one.passed for one in found), found
