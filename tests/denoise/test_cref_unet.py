"""crefDenoiser against the output of its authors' own model, and closed forms."""

from pathlib import Path

import numpy as np
import pytest
import torch
from identity_networks import identity_cref

from blush.denoise.cref_unet import CrefUNet, denoise_with_cref, raw_output
from blush.denoise.published import import_weights
from blush.denoise.weights import build, fill

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cref"
shared = [
    pytest.mark.shared,
    pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository"),
]


@pytest.fixture(scope="module")
def published() -> CrefUNet:
    tensors, card = import_weights(SHARED / "cref_epoch192.safetensors")
    network = build(card)
    assert fill(network, tensors) == []
    return network


@pytest.fixture(scope="module")
def golden() -> dict[str, torch.Tensor]:
    with np.load(SHARED / "cref_golden.npz") as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def agree(made: torch.Tensor, expected: torch.Tensor) -> None:
    """Two float32 programs: 1e-4 of the standard deviation at most, 1e-5 of the norm."""
    assert float((made - expected).abs().max() / expected.std()) < 1e-4
    assert float((made - expected).norm() / expected.norm()) < 1e-5


def test_number_of_parameters():
    assert sum(p.numel() for p in CrefUNet().parameters()) == 322_881


@pytest.mark.parametrize("name", ["blob64", "noise"])
@pytest.mark.parametrize("mark", [pytest.param("golden", marks=shared)])
def test_network_against_the_authors_model(published, golden, name, mark):
    with torch.inference_mode():
        made = published(golden[f"{name}_in"][None, None])[0, 0]
    agree(made, golden[f"{name}_out"])


@pytest.mark.parametrize("mark", [pytest.param("golden", marks=shared)])
def test_a_whole_map_of_odd_sides_against_the_authors_model(published, golden, mark):
    agree(raw_output(published, golden["map_in"]), golden["map_raw_out"])
    agree(denoise_with_cref(published, golden["map_in"]), golden["map_out"])


@pytest.mark.parametrize("shape", [(32, 32, 32), (20, 33, 40), (5, 70, 31)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_identity_network_gives_the_map_back_whatever_its_gain(shape, dtype):
    volume = 5 + 3 * torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=dtype)
    made = denoise_with_cref(identity_cref(gain=150.0), volume)
    assert made.dtype == dtype
    torch.testing.assert_close(made, volume, rtol=0, atol=1e-5 * float(volume.abs().max()))  # float32 inside


def test_beyond_its_far_ends_the_map_is_mirrored_with_its_border_repeated():
    """What the network sees at a voxel's far neighbours, told by a network that shifts by one voxel."""
    network = identity_cref()
    kernel = network.conv15.weight
    kernel[0, 0], kernel[1, 0] = kernel[0, 0].roll(1, 2), kernel[1, 0].roll(1, 2)  # reads the next voxel along x
    volume = torch.randn(20, 20, 20, generator=torch.Generator().manual_seed(3))
    std, mean = torch.std_mean(volume, correction=0)
    made = raw_output(network, volume)
    expected = (torch.from_numpy(np.pad(volume.numpy(), ((0, 0), (0, 0), (0, 1)), "symmetric"))[..., 1:] - mean) / std
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_sides_that_are_no_multiples_of_32_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        CrefUNet()(torch.zeros(1, 1, 32, 33, 32))


def test_a_constant_map_is_refused():
    with pytest.raises(ValueError, match="constant"):
        denoise_with_cref(identity_cref(), torch.ones(8, 8, 8))


def test_a_network_that_returns_nothing_is_refused():
    with pytest.raises(ValueError, match="network returned a constant map"):
        denoise_with_cref(identity_cref(gain=0.0), torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(1)))


def test_the_result_is_an_ordinary_tensor():
    made = denoise_with_cref(identity_cref(), torch.randn(8, 8, 8, generator=torch.Generator().manual_seed(1)))
    made *= 2  # a tensor of inference mode would refuse
    assert not made.is_inference()
