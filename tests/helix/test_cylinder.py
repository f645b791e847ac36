"""Harmonics on cylinders: a way there and back, and turns as phases."""

import numpy as np
import pytest
import torch
from helices import helix_map

from blush.geometry.helix import Helix
from blush.helix.cylinder import Cylinders, harmonics, sections
from blush.helix.masks import Tube, tube_mask


@pytest.mark.parametrize(("box", "dtype"), [(48, torch.float32), (50, torch.float64)])
def test_the_way_to_cylinders_and_back_loses_a_thousandth(box, dtype):
    """Of a map with detail down to 2.5 pixels; cubic splines on sections sampled twice as finely lose that much."""
    volume = helix_map(box, 4.0, Helix(21, 37)).to(dtype)
    there = harmonics(volume, Cylinders(box, 19.0))
    again = sections(there, Cylinders(box, 19.0))
    mask = tube_mask(box, 4.0, Tube(130)).to(dtype)
    assert again.dtype == dtype
    assert ((again - volume) * mask).norm() < 1e-3 * (volume * mask).norm()


def test_an_axial_density_has_the_lowest_harmonic_alone():
    """A Gaussian about the axis of sigma 5 px is exp(-r^2/50) on every circle, to the spline's error."""
    box, x = 48, torch.arange(48) - 24.0
    volume = torch.exp(-(x[:, None] ** 2 + x**2) / 50).expand(3, box, box)
    cylinders = Cylinders(box, 18.0)
    found = harmonics(volume, cylinders)
    radius = (torch.arange(cylinders.count) + 0.5) * 0.5
    inside = radius < 18
    assert (found[inside, 0].real - torch.exp(-(radius[inside] ** 2) / 50)[:, None]).abs().max() < 1e-4
    assert found[inside, 1:].abs().max() < 1e-4


def test_a_turn_from_x_towards_y_is_a_phase():
    helix = Helix(1000, 33.0)
    before, after = (harmonics(helix_map(48, 4.0, helix, units=(h,)), Cylinders(48, 18.0)) for h in (0, 1))
    n = torch.arange(before.shape[1])
    turned = before * torch.exp(-1j * np.deg2rad(33.0) * n)[:, None]
    moved = harmonics(helix_map(48, 4.0, Helix(1e-6, 33.0), units=(1,)), Cylinders(48, 18.0))
    assert (turned - moved).norm() < 2e-3 * before.norm()
    assert after.abs().max() < 1e-6  # a rise of 1000 Å leaves the box


def test_odd_boxes_are_refused():
    with pytest.raises(ValueError, match="box 33 is odd"):
        Cylinders(33, 10.0)
