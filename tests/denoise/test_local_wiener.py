"""Bands that add up, gains that begin at Wiener, features that know nothing of scale."""

import math

import pytest
import torch

from blush.denoise.card import LOCAL_WIENER, Card
from blush.denoise.local_wiener import (
    BANDS,
    FEATURES,
    GainNet,
    band_filters,
    band_weights,
    bands,
    filter_locally,
    gains,
    joined,
    mask_share,
    padded,
    scaled,
    seen,
)
from blush.denoise.weights import load_weights, save_weights
from blush.fourier.filter import low_pass
from blush.fourier.grid import radius_3d, shell_index_3d
from blush.fourier.mask import soft_sphere

N, VOXEL = 36, 2.0


def noise(seed: int) -> torch.Tensor:
    return torch.randn((N,) * 3, generator=torch.Generator().manual_seed(seed))


def random_net(seed: int = 1) -> GainNet:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = GainNet(4)
        torch.nn.init.normal_(network.outc.weight, std=0.5)
    return network.requires_grad_(False).eval()


def given(seed: int = 1, scale: float = 1.0):
    half = scale * (low_pass(noise(seed), 9.0, VOXEL) + 0.1 * noise(seed + 1))
    fsc = torch.linspace(1, 0, N // 2 + 1)
    return half, fsc, soft_sphere(N, 14.0, 3.0)


def test_bands_add_up_to_the_map_as_far_as_they_reach() -> None:
    filters = band_filters(N, VOXEL)
    assert filters.shape == (BANDS, N, N, N // 2 + 1)
    total = filters.square().sum(0)
    frequency = radius_3d(N) / (N * VOXEL)
    near = total[frequency < 0.8 / 4.2]  # the finest band ends at 4.2 Å
    torch.testing.assert_close(near, torch.ones_like(near))
    assert (filters >= 0).all()
    smooth = low_pass(noise(1), 6.0, VOXEL)
    torch.testing.assert_close(joined(bands(smooth, filters), filters), smooth, atol=1e-5, rtol=0)


def test_joining_is_the_adjoint_of_taking_apart() -> None:
    filters = band_filters(N, VOXEL).double()
    volume = noise(1).double()
    parts = torch.randn((BANDS, N, N, N), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert float((bands(volume, filters) * parts).sum()) == pytest.approx(
        float((volume * joined(parts, filters)).sum())
    )


def test_weights_of_bands_are_means_of_the_fsc() -> None:
    filters = band_filters(N, VOXEL)
    constant = band_weights(torch.full((N // 2 + 1,), 0.4), filters)
    torch.testing.assert_close(constant[:-1], torch.full((BANDS - 1,), 0.4), atol=0.01, rtol=0)
    falling = band_weights(torch.linspace(1.2, -0.4, N // 2 + 1), filters)
    assert (falling.diff() <= 0).all()
    assert falling.max() <= 0.98
    assert falling.min() == pytest.approx(0.03)


@pytest.mark.parametrize("level", [0.98, 0.5])
def test_a_band_that_a_map_holds_in_part_is_as_good_as_that_part(level: float) -> None:
    """Pixels of 2.6 Å end at 5.2 Å, in the midst of the last band, 6 to 4.2 Å, which the corners of the grid touch."""
    held = torch.full((int(N * VOXEL / 5.2) + 1,), level)
    filters = band_filters(N, VOXEL)
    weights = band_weights(held, filters)
    torch.testing.assert_close(weights[:-1], torch.full((BANDS - 1,), level))
    shell, power = shell_index_3d(N), filters[-1].square()
    inside, corners = power[shell < len(held)].sum(), power[shell > N // 2].sum()
    torch.testing.assert_close(weights[-1], level * inside / (inside + corners))
    assert float(corners) < 0.1 * float(inside) < 0.1 * float(power.sum() - corners)  # the band does go on beyond


def test_gains_are_1_where_q_is_0_and_lie_between_0_and_no_damping() -> None:
    weights = torch.tensor([0.15, 0.5, 0.6])
    torch.testing.assert_close(gains(torch.zeros(3, 2, 2, 2), weights), torch.ones(3, 2, 2, 2))
    high, low = gains(torch.full((3, 1, 1, 1), 50.0), weights), gains(torch.full((3, 1, 1, 1), -50.0), weights)
    torch.testing.assert_close(high[:, 0, 0, 0], 1 / weights)
    assert low.max() < 1e-6


def test_bands_of_nothing_but_noise_are_left_alone() -> None:
    """Scaled where the molecule is, noise of both halves would become alike."""
    highest = gains(torch.full((4, 1, 1, 1), 50.0), torch.tensor([0.03, 0.05, 0.1, 0.15]))[:, 0, 0, 0]
    torch.testing.assert_close(highest, torch.tensor([1.0, 1.0, 1 + 0.5 * 9, 1 / 0.15]))


def test_bands_almost_without_noise_are_left_alone() -> None:
    """A bias there would be all that a filter can still do."""
    lowest = gains(torch.full((4, 1, 1, 1), -50.0), torch.tensor([0.6, 0.775, 0.95, 0.98]))[:, 0, 0, 0]
    torch.testing.assert_close(lowest, torch.tensor([0.0, 0.5, 1.0, 1.0]), atol=1e-5, rtol=0)


def test_a_new_network_leaves_the_wiener_map_alone() -> None:
    added, mask = filter_locally(GainNet(4), seen(*given(), VOXEL), given()[0])
    assert float(added.abs().max()) < 1e-6
    share = float(mask_share(seen(*given(), VOXEL).weights))
    assert share > 0.9
    torch.testing.assert_close(mask, torch.full_like(mask, 1 - share / (1 + math.exp(5))))


def test_the_mask_is_believed_where_the_map_has_a_surface() -> None:
    weights = torch.tensor([[0.98, 0.9, 0.6, w, 0.1, 0.05, 0.03] for w in (0.2, 0.3, 0.5, 0.7, 0.9)])
    torch.testing.assert_close(mask_share(weights), torch.tensor([0.0, 0.0, 0.5, 1.0, 1.0]))
    half, _, sphere = given()
    fsc = torch.where(torch.arange(N // 2 + 1) < 3, 1.0, 0.0)  # to 24 Å
    _, mask = filter_locally(random_net(), seen(half, fsc, sphere, VOXEL), half)
    torch.testing.assert_close(mask, torch.ones_like(mask))


def test_nothing_comes_of_nothing() -> None:
    """Where the map has no power in a band, no gain makes any: the result has only the input's frequencies."""
    half = low_pass(noise(3), 14.0, VOXEL, edge_shells=0)
    fsc = torch.full((N // 2 + 1,), 0.5)
    made, _ = filter_locally(random_net(), seen(half, fsc, soft_sphere(N, 14.0, 3.0), VOXEL), half)
    assert float(made.std()) > 1e-3
    power = torch.fft.rfftn(made).abs().square()
    upper = 1 / 11.0 * (1 + 0.3 / 2)  # of the band that holds 14 Å; nothing leaks beyond it
    assert float(power[radius_3d(N) > N * VOXEL * upper + 1].sum() / power.sum()) < 1e-6


def test_scale_of_the_map_is_that_of_the_result() -> None:
    one, mask = filter_locally(random_net(), seen(*given(), VOXEL), given()[0])
    large = given(scale=1e3)
    other, same = filter_locally(random_net(), seen(*large, VOXEL), large[0])
    torch.testing.assert_close(other / 1e3, one, atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(same, mask, atol=1e-4, rtol=0)


def test_features_are_as_many_as_the_network_takes() -> None:
    made = seen(*given(), VOXEL)
    assert made.features.shape == (FEATURES, N // 2, N // 2, N // 2)
    assert torch.isfinite(made.features).all()
    assert padded(made.features[None]).shape[-1] % 4 == 0
    silent = seen(torch.zeros(N, N, N), torch.zeros(N // 2 + 1), soft_sphere(N, 14.0, 3.0), VOXEL)
    assert torch.isfinite(silent.features).all()


def test_interpolated_gains_are_exact_on_every_second_voxel() -> None:
    network, made = random_net(2), seen(*given(), VOXEL)
    _, logit = scaled(network, made.features[None], made.weights[None])
    wanted = 1 - mask_share(made.weights) * (1 - torch.sigmoid(logit[0]))
    every = (slice(None, None, 2),) * 3
    torch.testing.assert_close(filter_locally(network, made, given()[0])[1][every], wanted, atol=1e-5, rtol=1e-4)


def test_weights_are_written_and_read(tmp_path) -> None:
    network = random_net()
    card = Card(LOCAL_WIENER, 4, 2, norm="none", voxel_size_angst=VOXEL, block_px=0, stride_px=0)
    save_weights(tmp_path / "w.safetensors", network.state_dict(), card)
    loaded = load_weights(tmp_path / "w.safetensors", LOCAL_WIENER)
    features = torch.randn(1, FEATURES, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.network(features), network(features))
