"""Bands that add up, gains that begin at Wiener, features that know nothing of scale."""

import pytest
import torch

from blush.denoise.card import LOCAL_WIENER, Card
from blush.denoise.local_wiener import (
    BANDS,
    EDGES_ANGST,
    FEATURES,
    GainNet,
    band_filters,
    band_weights,
    bands,
    filter_locally,
    gains,
    padded,
    seen,
)
from blush.denoise.weights import load_weights, save_weights
from blush.fourier.filter import low_pass
from blush.fourier.grid import radius_3d
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
    return half, 0.5 * half, fsc, soft_sphere(N, 14.0, 3.0)


def test_bands_add_up_to_the_map_as_far_as_they_reach() -> None:
    filters = band_filters(N, VOXEL)
    assert filters.shape == (BANDS, N, N, N // 2 + 1)
    total = filters.sum(0)
    frequency = radius_3d(N) / (N * VOXEL)
    near = total[frequency < 0.8 / EDGES_ANGST[-1]]
    torch.testing.assert_close(near, torch.ones_like(near))
    assert (filters >= -1e-6).all()
    smooth = low_pass(noise(1), 6.0, VOXEL)
    torch.testing.assert_close(bands(smooth, filters).sum(0), smooth, atol=1e-5, rtol=0)


def test_weights_of_bands_are_means_of_the_fsc() -> None:
    filters = band_filters(N, VOXEL)
    constant = band_weights(torch.full((N // 2 + 1,), 0.4), filters)
    torch.testing.assert_close(constant[:-1], torch.full((BANDS - 1,), 0.4), atol=0.01, rtol=0)
    falling = band_weights(torch.linspace(1.2, -0.4, N // 2 + 1), filters)
    assert (falling.diff() <= 0).all()
    assert falling.max() <= 0.98
    assert falling.min() == pytest.approx(0.03)


def test_gains_are_1_where_q_is_0_and_lie_between_0_and_no_damping() -> None:
    weights = torch.tensor([0.05, 0.5, 0.95])
    torch.testing.assert_close(gains(torch.zeros(3, 2, 2, 2), weights), torch.ones(3, 2, 2, 2))
    high, low = gains(torch.full((3, 1, 1, 1), 50.0), weights), gains(torch.full((3, 1, 1, 1), -50.0), weights)
    torch.testing.assert_close(high[:, 0, 0, 0], 1 / weights)
    assert low.max() < 1e-6


def test_a_new_network_leaves_the_wiener_map_alone() -> None:
    assert float(filter_locally(GainNet(4), seen(*given(), VOXEL)).abs().max()) < 1e-6


def test_nothing_comes_of_nothing() -> None:
    """Where the map has no power in a band, no gain makes any: the result has only the input's frequencies."""
    half = low_pass(noise(3), 14.0, VOXEL, edge_shells=0)
    fsc = torch.full((N // 2 + 1,), 0.5)
    made = filter_locally(random_net(), seen(half, half, fsc, soft_sphere(N, 14.0, 3.0), VOXEL))
    assert float(made.std()) > 1e-3
    power = torch.fft.rfftn(made).abs().square()
    far = radius_3d(N) > N * VOXEL / 14.0 + 6  # gains vary slowly, which widens a band by a few shells
    assert float(power[far].sum() / power.sum()) < 1e-3


def test_scale_of_the_map_is_that_of_the_result() -> None:
    one = filter_locally(random_net(), seen(*given(), VOXEL))
    other = filter_locally(random_net(), seen(*given(scale=1e3), VOXEL))
    torch.testing.assert_close(other / 1e3, one, atol=1e-5, rtol=1e-3)


def test_features_are_as_many_as_the_network_takes() -> None:
    made = seen(*given(), VOXEL)
    assert made.features.shape == (FEATURES, N // 2, N // 2, N // 2)
    assert torch.isfinite(made.features).all()
    assert padded(made.features[None]).shape[-1] % 4 == 0
    silent = seen(torch.zeros(N, N, N), torch.zeros(N, N, N), torch.zeros(N // 2 + 1), soft_sphere(N, 14.0, 3.0), VOXEL)
    assert torch.isfinite(silent.features).all()


def test_interpolated_gains_are_exact_on_every_second_voxel() -> None:
    network, made = random_net(2), seen(*given(), VOXEL)
    side = made.features.shape[-1]
    q = network(padded(made.features[None]))[0, :, :side, :side, :side]
    every = (slice(None, None, 2),) * 3
    wanted = ((gains(q, made.weights) - 1) * made.parts[:, *every]).sum(0)
    torch.testing.assert_close(filter_locally(network, made)[every], wanted, atol=1e-4, rtol=1e-3)


def test_weights_are_written_and_read(tmp_path) -> None:
    network = random_net()
    card = Card(LOCAL_WIENER, 4, 2, norm="none", voxel_size_angst=VOXEL, block_px=0, stride_px=0)
    save_weights(tmp_path / "w.safetensors", network.state_dict(), card)
    loaded = load_weights(tmp_path / "w.safetensors", LOCAL_WIENER)
    features = torch.randn(1, FEATURES, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.equal(loaded.network(features), network(features))
