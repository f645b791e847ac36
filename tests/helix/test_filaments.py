"""The order of segments, and shares of pixels by counting them."""

import numpy as np
import pytest

from blush.helix.filaments import Filaments, blocks, own_share


def test_shares_are_those_of_pixels_that_boxes_divide():
    track = np.sort(np.random.default_rng(1).uniform(0, 400, 17))
    x = np.arange(-100, 500, 0.01) + 0.005
    inside = np.abs(x - track[:, None]) < 35
    expected = (inside / np.maximum(inside.sum(0), 1)).sum(1) * 0.01 / 70
    padded = np.concatenate((track, np.full(3, np.inf)))[None]
    found = own_share(padded, 70.0)[0]
    assert found[:17] == pytest.approx(expected, abs=1e-3)
    assert (found[17:] == 0).all()


def test_the_shares_of_a_filament_are_its_length_in_boxes():
    assert own_share(np.arange(50)[None] * 10.0, 100.0).sum() == pytest.approx((490 + 100) / 100)


def test_places_are_those_of_the_segments_in_turn():
    filament = np.array([7, 2, 7, 2, 7, 9])
    track = np.array([30.0, 5.0, 10.0, 1.0, 20.0, 0.0])
    found = Filaments.of(np.arange(6), filament, track, 12.0)
    assert found.rows.tolist() == [2, 3, 5, 4, 1, 0]
    assert found.starts.tolist() == [0, 3, 5, 6]
    assert found.rows[found.last].tolist() == [0, 1, 5]
    assert found.following.tolist() == [3, 4, -1, 5, -1, -1]
    assert found.rows[found.mirror].tolist() == [0, 1, 5, 4, 3, 2]
    assert found.position_angst.tolist() == [-10, -2, 0, 0, 2, 10]
    assert found.before.tolist() == [-1, -1, -1, 0, -1, 3]
    assert found.after.tolist() == [3, -1, -1, 5, -1, -1]


def test_blocks_hold_whole_filaments_and_every_segment_once():
    random = np.random.default_rng(2)
    filament = random.integers(0, 40, 900)
    track = random.uniform(0, 1000, 900)
    rows = np.flatnonzero(filament % 3 > 0)
    parts = [one.rows for one in blocks(rows, filament, track, 50.0, 100)]
    assert sorted(np.concatenate(parts)) == rows.tolist()
    assert len(parts) > 4
    for a, part in enumerate(parts):
        assert len(part) < 100 + 60
        assert not any(set(filament[part]) & set(filament[other]) for other in parts[a + 1 :])


def test_no_segments_are_no_blocks():
    assert list(blocks(np.zeros(0, int), np.zeros(4, int), np.arange(4.0), 50.0, 100)) == []
