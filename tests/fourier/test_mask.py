"""Masks: closed forms, and particles that the automatic mask must not cut."""

import math
from pathlib import Path

import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.grid import centred_radius
from blush.fourier.mask import auto_mask, extend_and_soften, soft_circle, soft_sphere

BETAGAL = Path(__file__).parents[3] / "shared/data/particles/betagal-empiar10204/initial_reference_50A.mrc"


@pytest.mark.parametrize("box", [24, 25])
def test_edge_is_a_cosine_outside_the_radius(box):
    line = soft_sphere(box, 5, 4, dtype=torch.float64)[box // 2, box // 2, box // 2 :]
    expected = [1.0] * 6 + [0.5 + 0.5 * math.cos(math.pi * i / 4) for i in (1, 2, 3, 4)]
    torch.testing.assert_close(line[:10], torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(soft_circle(box, 5, 4, dtype=torch.float64)[box // 2, box // 2 :], line)


def test_growing_a_point_gives_a_sphere():
    point = torch.zeros(20, 20, 20, dtype=torch.bool)
    point[10, 10, 10] = True
    torch.testing.assert_close(extend_and_soften(point, 3, 4), soft_sphere(20, 3, 4))


def test_growing_nothing_gives_nothing():
    assert float(extend_and_soften(torch.zeros(4, 4, 4), 3, 4).sum()) == 0


def arms(box, noise, seed=1):
    """A lobed particle: two uneven balls joined by a thin arm, low-passed, with white noise."""
    x = torch.stack(torch.meshgrid(*[torch.arange(box) - box // 2] * 3, indexing="ij"))
    big = (x - torch.tensor([0, 0, -12])[:, None, None, None]).double().norm(dim=0) < 9
    small = (x - torch.tensor([0, 4, 14])[:, None, None, None]).double().norm(dim=0) < 5
    arm = (x[0].abs() < 2) & (x[1].abs() < 2) & (x[2].abs() < 14)
    solid = big | small | arm
    density = low_pass(solid.double(), 8.0, 2.0)
    return solid, density + noise * torch.randn(solid.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0])
def test_automatic_mask_holds_the_particle_and_leaves_solvent(noise):
    solid, volume = arms(64, noise)
    mask = auto_mask(volume, 2.0, 100.0)
    assert float(mask[solid].min()) > 0.99
    sphere = float(soft_sphere(64, 25, 0).sum())
    assert float(mask.sum()) < 0.65 * sphere  # the particle fills 8 %, its halo of 18 Å most of the rest


def test_a_hollow_particle_is_filled():
    radius = centred_radius(48)
    volume = ((radius < 16) & (radius > 12)).double()
    assert float(auto_mask(volume, 2.0, 80.0)[24, 24, 24]) == 1


def test_pure_noise_gives_the_sphere_of_the_particle():
    noise = torch.randn(48, 48, 48, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(auto_mask(noise, 2.0, 70.0), soft_sphere(48, 17.5, 6.0))


def test_scale_and_background_do_not_matter():
    _, volume = arms(64, 0.3)
    torch.testing.assert_close(auto_mask(1e-4 * volume + 3, 2.0, 100.0), auto_mask(volume, 2.0, 100.0))


@pytest.mark.shared
@pytest.mark.skipif(not BETAGAL.exists(), reason="needs the shared data beside the repository")
def test_real_reference_keeps_its_density():
    from blush.io.mrc import read_volume

    array, pixel = read_volume(BETAGAL)
    volume = torch.from_numpy(array)
    mask = auto_mask(volume, pixel, 200.0, 50.0)
    strong = volume > 0.1 * volume.max()
    assert float(mask[strong].min()) > 0.99
    assert float(mask.mean()) < 0.3
