"""Nested pixel centres against astropy-healpix."""

import numpy as np
import pytest
import torch
from astropy_healpix import HEALPix

from blush.geometry.healpix import angular_step_deg, children, pixel_count, pixel_directions
from blush.geometry.rotation import direction


@pytest.mark.parametrize("order", [0, 1, 2, 5, 8])
def test_centres_equal_astropys(order):
    grid = HEALPix(nside=2**order, order="nested")
    index = np.arange(0, pixel_count(order), max(1, pixel_count(order) // 5000))
    longitude, latitude = (angle.to_value("deg") for angle in grid.healpix_to_lonlat(index))
    theirs = direction(torch.from_numpy(longitude), torch.from_numpy(90 - latitude))
    rot, tilt = pixel_directions(order, torch.from_numpy(index))
    assert (direction(rot, tilt) - theirs).abs().max() < 1e-14
    assert rot.dtype == torch.float64
    assert (rot >= 0).all()
    assert (rot < 360).all()


def test_first_pixel_of_order_0_is_at_45_degrees_on_the_first_ring():
    rot, tilt = pixel_directions(0)
    assert rot[0] == 45
    assert abs(float(torch.cos(torch.deg2rad(tilt[0]))) - 2 / 3) < 1e-15


@pytest.mark.parametrize("order", [0, 2, 4])
def test_children_surround_their_parent(order):
    parent = direction(*pixel_directions(order))
    family = children(torch.arange(pixel_count(order)))
    child = direction(*(angle.reshape(-1, 4) for angle in pixel_directions(order + 1, family.flatten())))
    centre = torch.nn.functional.normalize(child.mean(1), dim=-1)
    off_deg = torch.rad2deg(torch.acos((centre * parent).sum(-1).clamp(-1, 1)))
    # Largest in the polar caps; a wrong family lies a whole step away.
    assert off_deg.max() < 0.1 * angular_step_deg(order)


def test_an_order_out_of_range_is_refused():
    with pytest.raises(ValueError, match="order -1"):
        pixel_directions(-1)
