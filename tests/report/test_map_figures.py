"""What pictures of maps rest on."""

import numpy as np
import pytest

from blush.report.map_figures import surface_level


def test_the_surface_of_two_densities_lies_between_them():
    volume = np.full((8, 8, 8), 0.1, np.float32)
    volume[:3] = 0.9
    volume[7] = 0  # masked
    assert surface_level(volume) == pytest.approx(0.5)
