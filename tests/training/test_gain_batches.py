"""Learning the gains of the local Wiener filter: what the loss is, and that it can be made small."""

from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import training_config

from blush.config.training import TrainingConfig
from blush.denoise.card import LOCAL_WIENER
from blush.denoise.local_wiener import BANDS, FEATURES, GainNet
from blush.denoise.weights import load_weights
from blush.training.fit import EXAMPLES, WEIGHTS, batch_maker, fit
from blush.training.gain_batches import GainBatch, GainMaker, gain_loss

CPU = torch.device("cpu")


def config(**changes: object) -> TrainingConfig:
    plain = training_config(stages=[{"share": 1.0, "block_px": 32, "batch": 1}], **changes)
    network = plain.network.model_copy(update={"arch": "localwiener", "width": 3, "dropout": 0.0})
    return plain.model_copy(update={"network": network})


def made(store: Path, step: int, count: int = 1) -> GainBatch:
    maker = batch_maker(config(), store, CPU)
    assert isinstance(maker, GainMaker)
    return maker.halves(step, 32, range(count))


def test_a_particle_gives_both_of_its_halves(store: Path) -> None:
    batch = made(store, 1, 2)
    assert batch.features.shape == (4, FEATURES, 16, 16, 16)
    assert batch.parts.shape == batch.target.shape == (4, BANDS, 16, 16, 16)
    assert torch.equal(batch.target[0], batch.target[1])
    assert torch.equal(batch.weights[0], batch.weights[1])
    assert not torch.equal(batch.parts[0], batch.parts[1])


def test_the_same_step_is_the_same_batch(store: Path) -> None:
    one, two = made(store, 5, 3), made(store, 5, 3)
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in GainBatch.__annotations__)


def test_a_new_network_is_as_good_as_wiener(store: Path) -> None:
    loss, _, _ = gain_loss(GainNet(3), made(store, 2))
    assert float(loss.detach()) == pytest.approx(1, abs=1e-5)


def test_the_true_gains_have_less_error() -> None:
    """Two places, signal in one of them: the loss of gains that tell them apart is that of the noise left."""
    random = torch.Generator().manual_seed(1)
    place = torch.zeros(8, 8, 8)
    place[:4] = 1
    signal = torch.randn((1, BANDS, 8, 8, 8), generator=random) * place
    noise = 0.5 * torch.randn((1, BANDS, 8, 8, 8), generator=random)
    weights = torch.full((1, BANDS), 0.5)
    batch = GainBatch(
        torch.zeros(1, FEATURES, 8, 8, 8), 0.5 * (signal + noise), signal, weights, torch.ones(1, 8, 8, 8)
    )

    class Known(torch.nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return torch.where(place > 0, 50.0, -50.0).expand(1, BANDS, 8, 8, 8)

    loss, _, _ = gain_loss(Known(), batch)
    expected = (noise * place).square().sum() / (0.5 * (signal + noise) - signal).square().sum()
    assert float(loss) == pytest.approx(float(expected), rel=0.1)
    assert float(loss) < 0.7


def test_it_learns_and_goes_on(store: Path, tmp_path: Path) -> None:
    fit(config(steps=30, learning_rate=5e-3), store, tmp_path / "a", lambda _: None)
    rows = np.loadtxt(tmp_path / "a" / "losses.tsv", skiprows=1)
    assert rows[-10:, 3].mean() < 0.97 * rows[:3, 3].mean()
    weights = load_weights(tmp_path / "a" / WEIGHTS, LOCAL_WIENER)
    assert isinstance(weights.network, GainNet)
    assert np.load(tmp_path / "a" / EXAMPLES)["denoised"].shape == (4, 16, 16)
    fit(config(steps=30, learning_rate=5e-3, loaders=1), store, tmp_path / "b", lambda _: None)
    assert (tmp_path / "b" / WEIGHTS).read_bytes() == (tmp_path / "a" / WEIGHTS).read_bytes()
