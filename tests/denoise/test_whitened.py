"""The U-net on whitened Wiener maps: what it may change, and how much of it."""

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "regularise"))

from identity_networks import identity_unet

from blush.denoise.apply import on_model_grid, plan_patches
from blush.denoise.whitened import denoise_whitened
from blush.fourier.filter import low_pass, multiply_shells
from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import centred_radius
from blush.fourier.mask import soft_sphere

BOX, PIXEL, VOXEL = 48, 2.5, 2.0
DIAMETER = 80.0
PLAN = plan_patches(BOX, PIXEL, DIAMETER, VOXEL, block_px=48)
SHELLS = BOX // 2 + 1


def maps(weight: torch.Tensor, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A half-map whose power falls by four orders, and its Wiener map."""
    values = torch.randn((BOX,) * 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    half = scale * (values * 0.03 + low_pass(values, 25.0, PIXEL)) * soft_sphere(BOX, 9.0, 4.0, dtype=torch.float64)
    return half, multiply_shells(half, weight)


SURE = 20.0


class Sees(torch.nn.Module):
    """Takes a share of everything for noise, and sees the particle everywhere (a logit of 20) or nowhere (-20)."""

    def __init__(self, noise: float, logit: float) -> None:
        super().__init__()
        self.noise, self.logit = noise, logit

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.noise * inputs[:, :1], torch.full_like(inputs[:, :1], self.logit)], 1)


def test_a_network_that_finds_no_noise_leaves_the_wiener_map() -> None:
    weight = torch.linspace(1, 0, SHELLS, dtype=torch.float64)
    half, wiener = maps(weight)
    made = denoise_whitened(identity_unet(), half, wiener, weight, PLAN)
    assert made.dtype == wiener.dtype
    inside = centred_radius(BOX, 3) < 12  # what the filter has carried out of the sphere is solvent
    assert float((made - wiener)[inside].norm() / wiener[inside].norm()) < 2e-3


def kept(level: float, network: torch.nn.Module) -> torch.Tensor:
    """Amplitude that a network leaves in each shell, 2 to 16. From shell 17 on there is a band
    that reaches into the corners of the grid, where the FSC counts as 0."""
    weight = torch.full((SHELLS,), level, dtype=torch.float64)
    half, wiener = maps(weight)
    made = denoise_whitened(network, half, wiener, weight, PLAN)
    return (power_spectrum(made) / power_spectrum(wiener)).sqrt()[2:17]


@pytest.mark.parametrize("level", [0.99, 0.98, 0.05, 0.02])
def test_bands_nearly_free_of_noise_and_bands_of_noise_alone_stay(level: float) -> None:
    assert float((kept(level, Sees(1.0, SURE)) - 1).abs().max()) < 1e-4


def test_bands_between_are_the_networks() -> None:
    """What is left is the mean of each patch and the rim of the sphere."""
    whole, half_way = kept(0.25, Sees(1.0, SURE)), kept(0.6, Sees(1.0, SURE))
    assert float(whole.max()) < 0.4
    assert float(whole.mean()) < 0.2
    assert float(half_way.mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("level", [0.99, 0.05, 0.02])
def test_bands_free_of_noise_and_bands_of_noise_alone_are_not_masked(level: float) -> None:
    assert float((kept(level, Sees(0.0, -SURE)) - 1).abs().max()) < 1e-4


def test_the_mask_comes_in_band_by_band_with_the_signal() -> None:
    """From what stands out of the solvent shells up to 8, 15 Å, are kept, and two of the low-pass's edge."""
    assert float(kept(0.3, Sees(0.0, -SURE))[9:].max()) < 0.1
    assert float(kept(0.1, Sees(0.0, -SURE))[9:].mean()) == pytest.approx(0.5, abs=0.05)
    assert float(kept(0.965, Sees(0.0, -SURE))[9:].mean()) == pytest.approx(0.5, abs=0.05)


def test_a_micelle_that_the_network_does_not_see_keeps_its_low_resolutions_and_solvent_none() -> None:
    """A belt of smooth density with a fine texture, and noise everywhere; the network sees no particle at all."""
    axis = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    ring = (axis[:, None, None].abs() < 4) & ((axis[:, None] ** 2 + axis**2).sqrt() - 8).abs().lt(4)
    random = torch.Generator().manual_seed(4)
    texture, noise = (torch.randn((BOX,) * 3, generator=random, dtype=torch.float64) for _ in range(2))
    belt = low_pass(ring.double(), 12.0, PIXEL)
    half = belt * (1 + 0.5 * texture) + 0.1 * noise
    weight = torch.full((SHELLS,), 0.5, dtype=torch.float64)
    wiener = multiply_shells(half, weight)
    made = denoise_whitened(Sees(0.0, -SURE), half, wiener, weight, PLAN)
    coarse = [low_pass(volume, 20.0, PIXEL) for volume in (made, wiener)]
    assert float((coarse[0] - coarse[1])[ring].norm() / coarse[1][ring].norm()) < 0.15
    fine = [volume - low_pass(volume, 12.0, PIXEL) for volume in (made, wiener)]
    assert float(fine[0][ring].norm() / fine[1][ring].norm()) < 0.2
    far = (axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2).sqrt().lt(15) & (axis[:, None, None].abs() > 10)
    assert float(made[far].norm() / wiener[far].norm()) < 0.3


def test_overlapping_patches_of_the_mask_are_blended_as_the_density_is() -> None:
    """What every patch says alike stands in every voxel of the sphere, without seams."""
    volume = torch.randn((PLAN.model_box_px,) * 3, generator=torch.Generator().manual_seed(2))
    assert PLAN.n_patches > 1
    _, mask = on_model_grid(Sees(0.0, 1.0), volume, PLAN, 2, "float32", change=True)
    expected, inside = PLAN.mask / (1 + math.exp(-1)), PLAN.mask > 0.5  # what lies further out may be seen by no patch
    torch.testing.assert_close(mask[inside], expected[inside], atol=1e-6, rtol=0)


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
