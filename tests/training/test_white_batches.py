"""Learning on whitened Wiener maps: what a new network does, what the loss is, and that it can be made small."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_problem import VOXEL_ANGST, blob, training_config

from blush.config.training import TrainingConfig
from blush.denoise.card import BLUSH, WHITENED, Card
from blush.denoise.local_wiener import BANDS
from blush.denoise.weights import load_weights, save_weights
from blush.denoise.whitened import whitening
from blush.errors import BlushError
from blush.fourier.filter import low_pass, multiply_shells
from blush.fourier.fsc import power_spectrum
from blush.training import gain_batches
from blush.training.fit import EXAMPLES, WEIGHTS, build_network, fit
from blush.training.store import add_entry, write_index
from blush.training.tasks import task
from blush.training.white_batches import WhiteBatch, strength, white_loss

SIDE = 24


def config(**changes: object) -> TrainingConfig:
    plain = training_config(stages=[{"share": 1.0, "block_px": SIDE, "batch": 1}], **changes)
    network = plain.network.model_copy(update={"input": "whitened", "dropout": 0.0})
    return plain.model_copy(update={"network": network})


def made(store: Path, step: int, count: int = 1) -> WhiteBatch:
    return task(config(), store, torch.device("cpu")).batch(step, SIDE, range(count))


def test_a_particle_gives_the_same_place_of_both_of_its_halves(store: Path) -> None:
    batch = made(store, 1, 2)
    assert batch.inputs.shape == (4, 2, SIDE, SIDE, SIDE)
    assert batch.target.shape == batch.mask.shape == (4, SIDE, SIDE, SIDE)
    assert batch.weights.shape == (4, BANDS)
    assert torch.equal(batch.mask[0], batch.mask[1])
    assert torch.equal(batch.weights[0], batch.weights[1])
    assert not torch.equal(batch.inputs[0], batch.inputs[1])


def test_the_same_step_is_the_same_batch(store: Path) -> None:
    one, two = made(store, 5, 3), made(store, 5, 3)
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in WhiteBatch.__annotations__)


def test_halves_without_a_truth_are_each_others_targets(tmp_path: Path) -> None:
    truth, mask = blob(1)
    noise = np.random.default_rng(1).standard_normal((2, *truth.shape)).astype(np.float32)
    maps = {"half1": truth.numpy() + noise[0], "half2": truth.numpy() + noise[1], "mask": mask.numpy()}
    entry = add_entry(tmp_path, "pair", maps, group="g", split="train", source="folder")
    write_index(tmp_path, VOXEL_ANGST, [entry])
    batch = made(tmp_path, 2)
    assert not torch.equal(batch.target[0], batch.target[1])
    free = (batch.weights[0] > 0.1) & (batch.weights[0] < 0.9)
    assert bool(free.any())
    # Both hold the particle, so they agree; were a half its own target, Wiener-filtered or not, they would be the same.
    one, two = ((batch.inputs[0, 0] * batch.mask[0]).flatten(), (batch.target[0] * batch.mask[0]).flatten())
    assert 0.1 < float(torch.corrcoef(torch.stack([one, two]))[0, 1]) < 0.9


def test_the_target_has_the_scale_of_the_input(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the mask, the Wiener map is closer to the truth than nothing is, and no scaling of it is much closer."""
    monkeypatch.setattr(gain_batches, "DENOISED_SHARE", 0.0)
    errors, scales = [], []
    for step in range(16):
        batch = made(store, step)
        given, target = (values * batch.mask for values in (batch.inputs[:, 0], batch.target))
        errors.append(float((given - target).square().sum() / target.square().sum()))
        scales.append(float((given * target).sum() / given.square().sum()))
    assert np.median(errors) < 0.9
    assert np.median(scales) == pytest.approx(1, abs=0.2)


def test_a_map_that_was_filtered_has_the_truth_as_strong_as_it_is() -> None:
    truth = torch.randn((32, 32, 32), generator=torch.Generator().manual_seed(5))
    gain = torch.linspace(0.2, 0.9, 17, dtype=torch.float64)
    noise = 0.1 * torch.randn((32, 32, 32), generator=torch.Generator().manual_seed(6))
    found = strength(multiply_shells(truth, gain) + noise, truth)
    assert float((found - gain)[3:].abs().max()) < 0.02
    assert (strength(-truth, truth) == 0).all()


def example(weight: float = 0.4) -> tuple[WhiteBatch, torch.Tensor]:
    """Signal in half of the patch, noise everywhere, of equal power in all shells; and the noise."""
    random = torch.Generator().manual_seed(1)
    mask = torch.zeros(1, SIDE, SIDE, SIDE)
    mask[:, : SIDE // 2] = 1
    signal = torch.randn((1, SIDE, SIDE, SIDE), generator=random) * mask
    noise = torch.randn((1, SIDE, SIDE, SIDE), generator=random)
    wiener = weight * (signal + noise)
    inputs = torch.stack([wiener, torch.ones_like(wiener)], 1)
    return WhiteBatch(inputs, signal, torch.full((1, BANDS), weight), mask), noise


class Known(torch.nn.Module):
    """Makes of a patch what it is told."""

    def __init__(self, batch: WhiteBatch, wanted: torch.Tensor) -> None:
        super().__init__()
        given = batch.inputs[:, 0]
        noise = (given - wanted) / given.std()
        self.said = torch.stack([noise, torch.where(batch.mask > 0, 50.0, -50.0)], 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.said


def test_the_wiener_map_in_the_true_mask_has_a_loss_of_1() -> None:
    batch, _ = example()
    told = Known(batch, batch.inputs[:, 0] * batch.mask)
    loss, ratio, mask_loss = white_loss(told, batch, VOXEL_ANGST, 0.3)
    # What lies beyond 4.2 Å, where the last band ends, is not the network's.
    assert float(ratio) == pytest.approx(1, abs=0.01)
    assert float(loss) == pytest.approx(float(ratio), abs=1e-5)
    assert float(mask_loss) < 1e-6


def test_the_truth_has_no_loss_where_bands_are_free() -> None:
    batch, _ = example()
    loss, ratio, _ = white_loss(Known(batch, batch.target), batch, VOXEL_ANGST, 0.0)
    assert float(ratio) < 0.02
    assert float(loss) == float(ratio)


@pytest.mark.parametrize("weight", [0.04, 0.97])
def test_bands_that_are_clean_or_empty_stay_as_they_are(weight: float) -> None:
    """Whatever the network says: the loss is that of the Wiener map as it is."""
    batch, _ = example(weight)
    made_up = torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(3))
    ratios = [
        float(white_loss(Known(batch, wanted), batch, VOXEL_ANGST, 0.0)[1])
        for wanted in (batch.inputs[:, 0], made_up, batch.target)
    ]
    assert ratios == pytest.approx([ratios[0]] * 3, rel=1e-5)
    given, masked = (batch.inputs[:, 0] * factor - batch.target for factor in (1, batch.mask))
    expected = float(given.square().sum() / masked.square().sum())
    # Of white noise every band has the same ratio, up to its own noise.
    assert ratios[0] == pytest.approx(expected, rel=0.1)


def test_a_new_network_changes_nothing(store: Path) -> None:
    network = build_network(config())
    batch = made(store, 3)
    with torch.no_grad():
        loss, ratio, mask_loss = white_loss(network, batch, VOXEL_ANGST, 0.1)
    as_it_is, _, _ = white_loss(Known(batch, batch.inputs[:, 0]), batch, VOXEL_ANGST, 0.0)
    assert float(ratio) == pytest.approx(float(as_it_is), rel=1e-5)
    assert float(mask_loss) == pytest.approx(math.log(2), rel=1e-5)
    assert float(loss) == pytest.approx(float(ratio) + 0.1 * math.log(2), rel=1e-5)


def test_shells_of_a_whitened_half_map_are_equally_strong(store: Path) -> None:
    values = low_pass(torch.randn((32, 32, 32), generator=torch.Generator().manual_seed(4)), 12.0, 2.0) * 1e-3
    ones = torch.ones_like(values)
    power = power_spectrum(multiply_shells(values, whitening(values, ones)))
    kept = power_spectrum(values) > 1e-7 * power_spectrum(values).max()
    kept[0] = False
    assert int(kept.sum()) >= 4
    assert float(power[kept].std() / power[kept].mean()) < 1e-5
    assert float(power[~kept][1:].max()) <= float(power[kept].mean()) * 1.001
    cut = multiply_shells(values, (torch.arange(17) < 5).float())
    assert (whitening(cut, ones)[6:] == 0).all()


def test_it_learns(store: Path) -> None:
    network, batch = build_network(config()), made(store, 6)
    optimiser = torch.optim.AdamW(network.parameters(), 5e-3)
    losses = []
    for _ in range(25):
        loss, _, _ = white_loss(network, batch, VOXEL_ANGST, 0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_its_weights_say_what_they_are_given_and_a_loader_changes_nothing(store: Path, tmp_path: Path) -> None:
    fit(config(steps=6), store, tmp_path / "a", lambda _: None)
    assert load_weights(tmp_path / "a" / WEIGHTS, BLUSH).card.input_kind == WHITENED
    assert np.load(tmp_path / "a" / EXAMPLES)["denoised"].shape == (4, SIDE, SIDE)
    fit(config(steps=6, loaders=1), store, tmp_path / "b", lambda _: None)
    assert (tmp_path / "b" / WEIGHTS).read_bytes() == (tmp_path / "a" / WEIGHTS).read_bytes()


def test_weights_that_see_another_input_are_no_start(tmp_path: Path) -> None:
    card = Card(BLUSH, 4, 3, voxel_size_angst=VOXEL_ANGST)
    save_weights(tmp_path / "w.safetensors", build_network(config()).state_dict(), card)
    with pytest.raises(BlushError, match=r"set network\.input to theirs"):
        build_network(config(start=tmp_path / "w.safetensors"))
    save_weights(tmp_path / "w.safetensors", build_network(config()).state_dict(), replace(card, input_kind=WHITENED))
    build_network(config(start=tmp_path / "w.safetensors"))


def test_other_networks_have_no_whitened_input() -> None:
    with pytest.raises(ValueError, match="input: whitened is for arch: blush"):
        training_config().network.model_validate({"arch": "cref", "input": "whitened"})
