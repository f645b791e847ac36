"""Learning the gains of the local Wiener filter: what the loss is, and that it can be made small."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import training_config

from blush.config.training import TrainingConfig
from blush.denoise.card import LOCAL_WIENER
from blush.denoise.local_wiener import BANDS, FEATURES, PARTICLE, GainNet
from blush.denoise.weights import load_weights
from blush.fourier.filter import low_pass
from blush.fourier.mask import soft_sphere
from blush.training.fit import EXAMPLES, WEIGHTS, fit
from blush.training.gain_batches import GainBatch, denoised_before, gain_loss
from blush.training.tasks import task

CPU = torch.device("cpu")


def config(**changes: object) -> TrainingConfig:
    plain = training_config(stages=[{"share": 1.0, "block_px": 32, "batch": 1}], **changes)
    network = plain.network.model_copy(update={"arch": "localwiener", "width": 3, "dropout": 0.0})
    return plain.model_copy(update={"network": network})


def made(store: Path, step: int, count: int = 1) -> GainBatch:
    return task(config(), store, CPU).batch(step, 32, range(count))


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


def example(mask: torch.Tensor) -> GainBatch:
    """Signal in the mask, noise everywhere."""
    random = torch.Generator().manual_seed(1)
    signal = torch.randn((1, BANDS, 8, 8, 8), generator=random) * mask
    noise = 0.5 * torch.randn((1, BANDS, 8, 8, 8), generator=random)
    half, ones = torch.full((1, BANDS), 0.5), torch.ones(1, 8, 8, 8)
    return GainBatch(torch.zeros(1, FEATURES, 8, 8, 8), 0.5 * (signal + noise), signal, half, mask[None], ones)


class Known(torch.nn.Module):
    """Says what it is told."""

    def __init__(self, q: torch.Tensor, mask_logit: torch.Tensor) -> None:
        super().__init__()
        self.said = torch.cat([q.expand(1, BANDS, 8, 8, 8), mask_logit.expand(1, 1, 8, 8, 8) - PARTICLE], 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.said


def test_the_wiener_map_in_the_true_mask_has_a_loss_of_1() -> None:
    mask = torch.zeros(8, 8, 8)
    mask[:4] = 1
    told = Known(torch.zeros(()), torch.where(mask > 0, 50.0, -50.0))
    loss, ratio, mask_loss = gain_loss(told, example(mask), 0.3)
    assert float(loss) == pytest.approx(1, abs=1e-5)
    assert float(ratio) == pytest.approx(1, abs=1e-5)
    assert float(mask_loss) < 1e-6
    wrong = Known(torch.zeros(()), torch.where(mask > 0, 2.0, 2.0))
    loss, ratio, mask_loss = gain_loss(wrong, example(mask), 0.3)
    expected = (math.log(1 + math.exp(2)) + math.log(1 + math.exp(-2))) / 2
    assert float(mask_loss) == pytest.approx(expected, rel=1e-5)
    assert float(loss) == pytest.approx(float(ratio) + 0.3 * expected, rel=1e-5)


def test_the_true_gains_have_less_error() -> None:
    """No damping where there is signal: the loss is that of the noise left."""
    mask = torch.zeros(8, 8, 8)
    mask[:4] = 1
    batch = example(mask)
    told = Known(torch.full((), 50.0), torch.where(mask > 0, 50.0, -50.0))
    _, ratio, _ = gain_loss(told, batch, 0.0)
    noise = 2 * batch.parts - batch.target
    expected = (noise * mask).square().sum() / (batch.parts * mask - batch.target).square().sum()
    assert float(ratio) == pytest.approx(float(expected), rel=0.1)
    assert float(ratio) < 1


def test_a_filter_with_the_truth_takes_noise_away_and_little_else() -> None:
    truth = low_pass(torch.randn((32, 32, 32), generator=torch.Generator().manual_seed(1)), 10.0, 2.0)
    mask = soft_sphere(32, 9.0, 3.0, dtype=torch.float32)
    truth = truth / truth.std() * mask
    halves = truth + torch.randn((2, 32, 32, 32), generator=torch.Generator().manual_seed(2))
    made = denoised_before(halves, truth, mask, 2.0, 1.0)
    before, after = (float(((values - truth) * mask).square().mean()) for values in (halves[0], made[0]))
    assert after < 0.4 * before
    heavy = denoised_before(halves, truth, mask, 2.0, 3.0)
    assert float(heavy.square().sum()) < float(made.square().sum())
    again = denoised_before(halves, truth, mask, 2.0, 1.0, passes=3)
    assert float(again.square().sum()) < 0.9 * float(made.square().sum())
    exact = denoised_before(torch.stack([truth, truth]), truth, mask, 2.0, 1.0)[0]
    assert float((exact - truth * mask).norm() / truth.norm()) < 0.01


def test_it_learns_and_goes_on(store: Path, tmp_path: Path) -> None:
    fit(config(steps=30, learning_rate=5e-3), store, tmp_path / "a", lambda _: None)
    rows = np.loadtxt(tmp_path / "a" / "losses.tsv", skiprows=1)
    assert rows[-10:, 3].mean() < 0.97 * rows[:3, 3].mean()
    weights = load_weights(tmp_path / "a" / WEIGHTS, LOCAL_WIENER)
    assert isinstance(weights.network, GainNet)
    assert np.load(tmp_path / "a" / EXAMPLES)["denoised"].shape == (4, 16, 16)
    fit(config(steps=30, learning_rate=5e-3, loaders=1), store, tmp_path / "b", lambda _: None)
    assert (tmp_path / "b" / WEIGHTS).read_bytes() == (tmp_path / "a" / WEIGHTS).read_bytes()
