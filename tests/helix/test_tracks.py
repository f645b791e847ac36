"""What neighbours expect of psi and offsets, on straight, bent and reversed filaments, and what they do not."""

import numpy as np
import pytest

from blush.geometry.helix import from_frame
from blush.helix.tracks import Track

N = 30


def poses(psi, tilt, across, against):
    """(n, 5) poses of segments, those that run against the track turned round."""
    offsets = from_frame(np.stack((np.linspace(-5, 5, len(psi)), across), -1), psi)
    turned = np.where(against, psi + 180, psi)
    return np.column_stack((np.zeros(len(psi)), np.where(against, 180 - tilt, tilt), turned, offsets))


def straight(n=N, psi=170.0):
    return Track(np.full(n, psi), np.full(n, 90.0), np.zeros(n))


def smoothed(seen, first, filament, track):
    return seen.smoothed(first, filament, track, 150.0)


def test_reversed_segments_are_turned_before_they_are_averaged():
    random = np.random.default_rng(1)
    against = random.random(N) < 0.5
    psi, tilt, across = 170 + 3.0 * np.ones(N), 86.0 * np.ones(N), 4.0 * np.ones(N)
    seen = Track.of(poses(psi, tilt, across, against), np.full(N, 170.0))
    assert seen.psi_deg == pytest.approx(psi)
    assert seen.tilt_deg == pytest.approx(tilt)
    assert seen.across_angst == pytest.approx(across)
    expected = smoothed(seen, straight(), np.zeros(N, int), np.arange(N) * 20.0)
    assert expected.psi_deg[5:-5] == pytest.approx(np.full(20, 173.0), abs=0.8)
    assert expected.across_angst[5:-5] == pytest.approx(np.full(20, 4.0), abs=1.0)


def test_tilts_are_expected_where_the_track_has_them_whatever_all_segments_say():
    """Or else they would drift away together: the same error of all is hardly seen in a map that was made with it."""
    seen = Track(np.full(N, 170.0), np.full(N, 99.0), np.zeros(N))
    first = Track(np.full(N, 170.0), np.linspace(85, 95, N), np.zeros(N))
    expected = smoothed(seen, first, np.zeros(N, int), np.arange(N) * 20.0)
    assert np.array_equal(expected.tilt_deg, first.tilt_deg)


def test_a_segment_is_not_heard_about_itself():
    random = np.random.default_rng(2)
    values = random.normal(size=(3, N)) * 3
    seen = Track(170 + values[0], 90 + values[1], values[2])
    track = np.arange(N) * 20.0
    whole = smoothed(seen, straight(), np.zeros(N, int), track).stacked()
    changed = np.array(values)
    changed[:, 11] += 40
    other = Track(170 + changed[0], 90 + changed[1], changed[2])
    found = smoothed(other, straight(), np.zeros(N, int), track).stacked()
    assert found[11] == pytest.approx(whole[11], abs=1e-12)
    assert np.abs(found[12] - whole[12])[[0, 2]].min() > 0.5


def test_the_expected_track_is_nearer_to_the_truth_than_the_picked_one_and_than_single_segments():
    random = np.random.default_rng(3)
    track = np.arange(N) * 20.0
    bend = 170 + 4 + 0.01 * (track - track.mean())
    seen = Track(bend + random.normal(size=N) * 3, np.full(N, 90.0), np.zeros(N))
    expected = smoothed(seen, straight(), np.zeros(N, int), track)
    error = np.sqrt(np.mean((expected.psi_deg - bend) ** 2))
    assert error < 1.7
    assert error < 0.6 * np.sqrt(np.mean((seen.psi_deg - bend) ** 2))


def test_filaments_do_not_hear_each_other_and_rows_may_be_in_any_order():
    random = np.random.default_rng(4)
    filament, track = np.repeat([3, 8], N), np.tile(np.arange(N) * 20.0, 2)
    values = random.normal(size=(3, 2 * N)) * 3
    first = straight(2 * N)
    seen = Track(170 + values[0], 90 + values[1], values[2])
    whole = smoothed(seen, first, filament, track)
    order = random.permutation(2 * N)
    mixed = smoothed(seen.taken(order), first, filament[order], track[order])
    assert np.array_equal(mixed.stacked(), whole.stacked()[order])
    alone = smoothed(seen.taken(np.arange(N)), straight(), filament[:N], track[:N])
    assert np.array_equal(alone.stacked(), whole.stacked()[:N])


def test_a_segment_alone_is_expected_where_it_was_picked():
    one = Track(np.array([175.0]), np.array([84.0]), np.array([6.0]))
    found = smoothed(one, straight(1), np.zeros(1, int), np.zeros(1))
    assert found.stacked().tolist() == [[170.0, 90.0, 0.0]]


def test_angles_are_averaged_across_180_degrees():
    psi = np.where(np.arange(N) % 2 == 0, 179.0, -179.0)
    found = smoothed(
        Track(psi, np.full(N, 90.0), np.zeros(N)), straight(psi=180.0), np.zeros(N, int), np.arange(N) * 20.0
    )
    assert np.abs(found.psi_deg).min() > 179.5


@pytest.mark.parametrize(("spread", "found"), [(2.0, 2.0), (0.1, 1.0), (50.0, 3.0)])
def test_widths_are_the_scatter_within_a_third_and_all_of_the_first_and_that_of_tilt_never_grows(spread, found):
    values = np.random.default_rng(5).normal(size=4000) * spread
    seen = Track(10 + values, 90 + values, values)
    expected = Track(np.full(4000, 10.0), np.full(4000, 90.0), values * 0)
    assert seen.widths(expected, (3.0, 3.0), 3.0) == pytest.approx((found, found), rel=0.05)
    assert seen.widths(expected, (3.0, 3.0), 1.5) == pytest.approx((found, min(found, 1.5)), rel=0.05)
