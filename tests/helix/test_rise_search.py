"""Rise at the slow twist that filaments tell, on helices in closed form."""

import numpy as np
import pytest
from helices import GLOBULAR, helix_map, noisy_halves

from blush.geometry.helix import Helix
from blush.helix.masks import Tube, central_mask
from blush.helix.pair_score import Central, widest_fraction
from blush.helix.rise_search import at_slope, search_rise

TRUE, CENTRAL = Helix(21, 37), Central(4.0, 0.6, Tube(150))
START = Helix(22, 22 * 37 / 21)


@pytest.fixture(scope="module")
def volume():
    return helix_map(64, 4.0, TRUE, GLOBULAR)


def test_the_rise_is_found_from_1_angst_off_and_the_twist_follows(volume):
    found = search_rise((volume, volume), CENTRAL, START, (18.0, 24.0), None)
    assert found.rise_angst == pytest.approx(21, rel=2e-5)
    assert found.twist_deg == pytest.approx(37, abs=2e-3)


def test_the_slow_twist_is_kept_whatever_the_maps_say(volume):
    """At one that is 2 % off, the twist is that of the slope, not of the map."""
    other = Helix(22, 1.02 * START.twist_deg)
    found = search_rise((volume, volume), CENTRAL, other, (18.0, 24.0), None)
    assert found.slope_deg_per_angst == pytest.approx(other.slope_deg_per_angst, rel=1e-12)
    assert abs(found.twist_deg - 37) > 0.3


def test_limits_of_the_twist_exclude_rises(volume):
    """At 37/21 degrees per Å, twists of 38 degrees or more have rises of 21.57 Å or more."""
    found = search_rise((volume, volume), CENTRAL, START, (18.0, 24.0), (38.0, 45.0))
    assert found.twist_deg == pytest.approx(38, abs=1e-9)
    assert search_rise((volume, volume), CENTRAL, START, (18.0, 24.0), (60.0, 65.0)) is None


def test_noise_scatters_the_rise_by_hundredths_of_an_angst(volume):
    inside = central_mask(64, 4.0, Tube(150), 0.6) > 0.5
    found = [
        search_rise(noisy_halves(volume, 1.0, inside, seed), CENTRAL, START, (18.0, 24.0), None).rise_angst
        for seed in range(6)
    ]
    assert abs(np.mean(found) - 21) < 0.03
    assert np.std(found) < 0.05


def test_a_rise_is_compared_over_two_units_or_more(volume):
    with pytest.raises(ValueError, match="shorter than two rises"):
        search_rise((volume, volume), CENTRAL, START, (18.0, 100.0), None)


def test_a_screw_keeps_its_half_turn():
    """2_1: a rise that is 0.02 Å longer turns by as much more as the slow twist says, beyond the half turn."""
    screw = Helix(2.375, -180.6)
    assert at_slope(screw, 2.395).twist_deg == pytest.approx(-180.6 - 0.02 * 1.2 / 4.75)


def test_the_widest_fraction_is_one_that_can_be_searched(volume):
    central = Central(4.0, widest_fraction(64), Tube(150))
    assert search_rise((volume, volume), central, START, (18.0, 24.0), None).rise_angst == pytest.approx(21, abs=0.02)
