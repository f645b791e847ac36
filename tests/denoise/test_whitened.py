"""The U-net on whitened Wiener maps: what it may change, and how much of it."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

from identity_networks import identity_unet

from blush.denoise.apply import plan_patches
from blush.denoise.whitened import denoise_whitened
from blush.fourier.filter import low_pass, multiply_shells
from blush.fourier.fsc import power_spectrum
from blush.fourier.mask import soft_sphere

BOX, PIXEL, VOXEL = 48, 2.5, 2.0
DIAMETER = 80.0
PLAN = plan_patches(BOX, PIXEL, DIAMETER, VOXEL, block_px=48)
SHELLS = BOX // 2 + 1


def maps(weight: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A half-map whose power falls by four orders, and its Wiener map."""
    values = torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    half = scale * (values * 0.03 + low_pass(values, 25.0, PIXEL)) * soft_sphere(BOX, 14.0, 4.0, dtype=torch.float64)
    return half, multiply_shells(half, weight)


class Nothing(torch.nn.Module):
    """Takes everything for noise."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def test_a_network_that_finds_no_noise_leaves_the_wiener_map() -> None:
    weight = torch.linspace(1, 0, SHELLS, dtype=torch.float64)
    half, wiener = maps(weight)
    made = denoise_whitened(identity_unet(), half, wiener, weight, PLAN)
    assert made.dtype == wiener.dtype
    assert float((made - wiener).norm() / wiener.norm()) < 1e-5


def kept(level: float) -> torch.Tensor:
    """Amplitude left in each shell, 2 to 16, by a network that takes all for noise. From shell 17 on there is a band
    that reaches into the corners of the grid, where the FSC counts as 0."""
    weight = torch.full((SHELLS,), level, dtype=torch.float64)
    half, wiener = maps(weight)
    made = denoise_whitened(Nothing(), half, wiener, weight, PLAN)
    return (power_spectrum(made) / power_spectrum(wiener)).sqrt()[2:17]


@pytest.mark.parametrize("level", [0.99, 0.9, 0.05, 0.02])
def test_bands_nearly_free_of_noise_and_bands_of_noise_alone_stay(level: float) -> None:
    assert float((kept(level) - 1).abs().max()) < 1e-4


def test_bands_between_are_the_networks() -> None:
    """What is left is the mean of each patch and the rim of the sphere."""
    whole, half_way = kept(0.25), kept(0.6)
    assert float(whole.max()) < 0.4
    assert float(whole.mean()) < 0.2
    assert float(half_way.mean()) == pytest.approx(0.5, abs=0.05)


def test_the_scale_of_a_map_carries_through() -> None:
    weight = torch.full((SHELLS,), 0.5, dtype=torch.float64)
    network = identity_unet()
    network.outc.weight[0, 0] = 0.1
    one, two = (denoise_whitened(network, *maps(weight, scale), weight, PLAN) for scale in (1.0, 1e4))
    assert float((two / 1e4 - one).norm() / one.norm()) < 1e-4
    assert float((one - maps(weight)[1]).norm() / one.norm()) > 1e-3


def test_another_box_is_refused() -> None:
    weight = torch.ones(SHELLS)
    half, wiener = maps(weight.double())
    with pytest.raises(ValueError, match="not 48 px"):
        denoise_whitened(identity_unet(), half[:40, :40, :40], wiener, weight, PLAN)
