"""What pictures of maps rest on."""

import numpy as np
import pytest

from blush.report.map_figures import outlined, surface_level


def test_the_surface_of_two_densities_lies_between_them():
    volume = np.full((8, 8, 8), 0.1, np.float32)
    volume[:3] = 0.9
    volume[7] = 0  # masked
    assert surface_level(volume) == pytest.approx(0.5)


def test_the_outline_lies_where_the_mask_is_a_half():
    volume, mask = np.zeros((32, 32, 32), np.float32), np.zeros((32, 32, 32), np.float32)
    mask[8:24, 8:24, 8:24] = 1
    picture = outlined(volume, mask, 0)
    assert picture.shape == (256, 256, 3)
    y, x = np.nonzero(picture[..., 0] > 0.5)
    for place in (y, x):
        assert place.min() == pytest.approx(8 * 8, abs=5)
        assert place.max() == pytest.approx(24 * 8, abs=5)
    assert picture[128, 128].max() == 0
    assert outlined(volume, None, 0).shape == (32, 32)
