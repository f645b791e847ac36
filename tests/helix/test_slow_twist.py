"""Slow twist and walk of simulated filaments, against what is known to be possible."""

from dataclasses import replace

import numpy as np
import pytest
from chains import Chains

from blush.helix.chain import Motion
from blush.helix.slow_twist import fit_slow_twist, fit_walk

RISE = 21.0


def around(slope: float, twist_deg: float) -> tuple[float, float]:
    """Slopes of twists of 21-Å units that differ by up to so much."""
    return slope - twist_deg / RISE, slope + twist_deg / RISE


@pytest.mark.parametrize("off_deg", [3.0, -3.0, 2.2, 0.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_twist_that_is_3_degrees_off_is_found_at_once(off_deg, seed):
    """At a signal at which a sixth of single segments looks the wrong way, and half of the others miss rot."""
    chains = Chains.drawn(seed, walk=0.05)
    start = chains.slope_deg_per_angst + off_deg / RISE
    half = chains.half(chains.images(seed, 4.0, 48))
    found = fit_slow_twist([half], [Motion(start, 0.1, 360.0)], around(start, 4.0))
    assert not found.at_limit
    assert found.error_deg_per_angst * RISE < 0.4
    assert abs(found.slope_deg_per_angst - chains.slope_deg_per_angst) < 3 * found.error_deg_per_angst


def test_errors_are_those_of_a_line_through_independent_rots_and_are_told_as_such():
    """Slope of rot on distance: sigma sqrt(12) / (L sqrt(n)) for a filament, less by the root of their number."""
    sigma, gaps, told = 6.0, [], []
    for seed in range(20):
        chains = Chains.drawn(seed, filaments=4, segments=24, step_angst=40.0, slope=0.25)
        half = chains.half(chains.measured(seed + 100, sigma, 96), extent_angst=40.0)
        found = fit_slow_twist([half], [Motion(0.25, 1e-4, 360.0)], (0.23, 0.27))
        gaps.append(found.slope_deg_per_angst - 0.25)
        told.append(found.error_deg_per_angst)
    possible = sigma * np.sqrt(12) / (24 * 40.0 * np.sqrt(24)) / np.sqrt(4)
    assert np.sqrt(np.mean(np.square(gaps))) == pytest.approx(possible, rel=0.35)
    assert np.mean(told) == pytest.approx(possible, rel=0.35)


def test_many_segments_of_an_amyloid_tell_its_twist_within_two_hundredths_of_a_degree():
    """A screw of half a rung: rise 2.375 Å and twist -180.6 degrees, which is a slow twist of -1.2 a rung."""
    chains = Chains.drawn(
        5, filaments=10, segments=50, step_angst=14.25, slope=-1.2 / 4.75, period_deg=180.0, walk=0.01
    )
    half = chains.half(chains.images(6, 8.0, 48), extent_angst=14.25)
    start = -0.9 / 4.75
    found = fit_slow_twist([half], [Motion(start, 0.1, 180.0)], (-1.7 / 4.75, -0.2 / 4.75))
    assert found.slope_deg_per_angst * 4.75 == pytest.approx(-1.2, abs=0.02)


@pytest.mark.parametrize("walk", [0.02, 0.5])
def test_the_walk_is_found_from_a_wrong_one(walk):
    chains = Chains.drawn(3, filaments=40, segments=16, walk=walk)
    half = chains.half(chains.measured(4, 5.0, 96))
    found = Motion(chains.slope_deg_per_angst, 0.1, 360.0)
    for _ in range(2):
        found = replace(found, walk_deg2_per_angst=fit_walk(half, found))
    assert found.walk_deg2_per_angst == pytest.approx(walk, rel=0.4)


def test_noise_moves_neither_slope_nor_walk_by_much():
    chains = Chains.drawn(3, filaments=16)
    motion = Motion(1.7, 0.1, 360.0)
    half = chains.half(chains.images(8, 0.0, 48))
    found = fit_slow_twist([half], [motion], around(1.7, 4.0))
    assert (found.is_known, found.slope_deg_per_angst, found.at_limit) == (False, 1.7, False)
    assert 0.01 < fit_walk(half, motion) < 1.0


def test_images_that_were_not_compared_by_likelihood_say_nothing():
    chains = Chains.drawn(3, filaments=4)
    said = np.zeros((len(chains.filament), 2, 48), np.float32)
    found = fit_slow_twist([chains.half(said)], [Motion(1.7, 0.1, 360.0)], around(1.7, 4.0))
    assert (found.is_known, found.slope_deg_per_angst) == (False, 1.7)
    assert fit_walk(chains.half(said), Motion(1.7, 0.1, 360.0)) == pytest.approx(0.1)


def test_segments_without_neighbours_say_nothing():
    chains = Chains.drawn(3, filaments=30, segments=1)
    found = fit_slow_twist([chains.half(chains.images(1, 9.0, 48))], [Motion(1.7, 0.1, 360.0)], around(1.7, 4.0))
    assert not found.is_known


def test_a_twist_beyond_what_is_allowed_is_told():
    chains = Chains.drawn(1, walk=0.05)
    true = chains.slope_deg_per_angst
    found = fit_slow_twist(
        [chains.half(chains.images(1, 20.0, 48))], [Motion(true, 0.1, 360.0)], (true + 0.05, true + 0.15)
    )
    assert found.at_limit
    assert found.slope_deg_per_angst == true + 0.05


def test_both_halves_tell_one_slope_and_each_its_own_walk():
    """Halves as good as each other: the slope is between those of either alone, and nearer to the truth than most."""
    quiet, restless = (Chains.drawn(seed, filaments=20, walk=walk) for seed, walk in ((1, 0.01), (2, 0.8)))
    halves = [chains.half(chains.measured(7, 5.0, 96)) for chains in (quiet, restless)]
    motions = [Motion(quiet.slope_deg_per_angst, walk, 360.0) for walk in (0.01, 0.8)]
    slopes = around(quiet.slope_deg_per_angst, 2.0)
    one, two = (fit_slow_twist([half], [motion], slopes) for half, motion in zip(halves, motions, strict=True))
    both = fit_slow_twist(halves, motions, slopes)
    precision = np.array([one.error_deg_per_angst, two.error_deg_per_angst]) ** -2.0
    expected = np.average([one.slope_deg_per_angst, two.slope_deg_per_angst], weights=precision)
    assert both.slope_deg_per_angst == pytest.approx(expected, abs=both.error_deg_per_angst / 2)
    assert fit_walk(halves[0], motions[0]) < 0.05 < 0.3 < fit_walk(halves[1], motions[1])


def test_the_order_of_rows_changes_no_digit():
    chains = Chains.drawn(4, segments=9, walk=0.05)
    said = chains.images(5, 6.0, 48)
    order = np.random.default_rng(6).permutation(len(said))
    motion, slopes = Motion(1.7, 0.1, 360.0), around(1.7, 4.0)
    sorted_rows, mixed = chains.half(said), chains.shuffled(order).half(said[order])
    assert fit_slow_twist([sorted_rows], [motion], slopes) == fit_slow_twist([mixed], [motion], slopes)
    assert fit_walk(sorted_rows, motion) == fit_walk(mixed, motion)


def test_a_part_of_many_segments_begins_the_search_and_all_of_them_end_it(monkeypatch):
    chains = Chains.drawn(4, filaments=24, walk=0.05)
    half, motion, slopes = chains.half(chains.images(5, 6.0, 48)), Motion(1.7, 0.1, 360.0), around(1.7, 4.0)
    whole = fit_slow_twist([half], [motion], slopes)
    monkeypatch.setattr("blush.helix.slow_twist.SEGMENTS_SEARCHED", 72)
    assert len(half.searched().rows) == 72
    found = fit_slow_twist([half], [motion], slopes)
    assert found.slope_deg_per_angst == pytest.approx(whole.slope_deg_per_angst, abs=whole.error_deg_per_angst / 10)
    assert found.error_deg_per_angst == pytest.approx(whole.error_deg_per_angst, rel=0.1)


def test_what_is_not_of_a_half_is_not_heard():
    chains = Chains.drawn(4)
    said = chains.images(5, 6.0, 48)
    own = np.flatnonzero(chains.filament % 2 == 0)
    other = said.copy()
    other[chains.filament % 2 == 1] = 7.0
    halves = [replace(chains.half(some), rows=own) for some in (said, other)]
    motion, slopes = Motion(1.7, 0.1, 360.0), around(1.7, 4.0)
    assert fit_slow_twist([halves[0]], [motion], slopes) == fit_slow_twist([halves[1]], [motion], slopes)
