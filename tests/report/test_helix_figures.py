"""What the page says of filaments, from runs without any and figures of known arrays."""

import re

import numpy as np
import pytest

from blush.helix.along import Along
from blush.report import helix_figures


def along(phase_deg, against=None) -> Along:
    """Two filaments of four segments each, of which the second is reversed."""
    filament = np.repeat([0, 1], 4)
    reversed_ = filament == 1
    if against is not None:
        reversed_[against] ^= True
    zeros = np.zeros(8)
    return Along(filament, np.tile([0.0, 40, 80, 120], 2), reversed_, zeros, zeros, np.asarray(phase_deg, float),
                 np.array([4, 4]), np.array([False, True]))  # fmt: skip


def test_each_filament_has_a_panel_with_its_name_and_direction():
    text = helix_figures.filaments(along(np.arange(8.0)), 360.0, ["a", "b"])
    assert "a →" in text
    assert "b ←" in text


@pytest.mark.parametrize(("phases", "reach"), [(np.zeros(8), 20), (np.tile([-30.0, 30], 4), 180)])
def test_the_axis_of_rot_is_as_wide_as_the_spread_and_never_wider_than_the_period(phases, reach):
    text = helix_figures.filaments(along(phases), 360.0, ["a", "b"])
    drawn = [float(label.replace("−", "-")) for label in re.findall(r">([−\d.]+)</text>", text)]
    assert reach / 2 < max(abs(value) for value in drawn if value < 0) <= reach


def test_layer_lines_name_the_rise_where_the_map_reaches_it():
    power = np.ones((25, 25))
    assert "1/21.00 Å" in helix_figures.layer_lines(power, 192.0, 21.0, 8.0)
    assert "1/2.40 Å" not in helix_figures.layer_lines(power, 192.0, 2.4, 8.0)
