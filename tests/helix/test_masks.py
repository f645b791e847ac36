"""Masks about the axis, at voxels whose weight is known."""

import math

import pytest
import torch

from blush.helix.masks import Tube, central_mask, tube_mask


def test_the_tube_is_between_its_cylinders_and_inside_the_sphere():
    mask = tube_mask(64, 2.0, Tube(40, 12, 100))
    assert mask.dtype == torch.float32
    centre = mask[32, 32]  # along x: cylinders of 10 and 3 px, sphere of 25 px
    assert centre[32 + 4] == 1
    assert centre[32 + 3] == 1
    assert centre[32 + 10] == 1
    assert centre[32 + 12] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 2 / 5), abs=1e-6)
    assert centre[32 + 15] == 0
    assert centre[32 + 1] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * 2 / 5), abs=1e-6)
    along = mask[:, 32, 32 + 7]
    assert along[32 + 24] == 1  # 25.0 px from the centre
    assert along[32 + 29] < 1e-6 + (0.5 + 0.5 * math.cos(math.pi * (math.hypot(29, 7) - 25) / 5))
    assert along[32 + 30] == 0
    assert mask[32, 32 + 7, 32] == centre[32 + 7]


def test_without_a_sphere_it_is_nine_tenths_of_the_box():
    column = tube_mask(60, 1.0, Tube(20))[:, 30, 30]
    assert column[30 + 27] == 1
    assert 0 < column[30 + 29] < 1


def test_the_central_mask_falls_beyond_its_part_of_the_box():
    mask = central_mask(100, 1.5, Tube(60), 0.3)
    column = mask[:, 50, 50]
    assert (column[35:66] == 1).all()
    assert column[50 + 16] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 5), abs=1e-6)
    assert column[50 + 20] == 0
    assert torch.equal(column[50 - 30 : 50], column[51:81].flip(0))
