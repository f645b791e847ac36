"""How many images of each kind there are, and which."""

import numpy as np
import pytest

from blush.simulate.assignment import SOUND, assign, largest_remainder
from blush.simulate.mixture_settings import JUNK_KINDS
from blush.simulate.settings import SimulateConfig


def settings(count: int, junk: dict | None = None, **content) -> SimulateConfig:
    return SimulateConfig.model_validate({"imaging": {"n_particles": count}, "junk": junk or {}, **content})


@pytest.mark.parametrize(
    ("fractions", "count", "expected"),
    [
        ([0.6, 0.4], 1000, [600, 400]),
        ([0.05, 0.95], 1000, [50, 950]),
        ([1 / 3, 1 / 3, 1 / 3], 100, [34, 33, 33]),
        ([0.5, 0.3, 0.2], 7, [4, 2, 1]),
        ([0.9, 0.1], 1, [1, 0]),
        ([1.0, 0.0], 5, [5, 0]),
        ([0.7, 0.3], 0, [0, 0]),
    ],
)
def test_largest_remainders(fractions, count, expected):
    assert largest_remainder(np.array(fractions), count).tolist() == expected


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_exact_counts_hold_for_any_seed_in_random_order(seed):
    found = assign(settings(1000, {"noise": 0.1, "broken": 0.3}, seed=seed), [0.05, 0.95])
    assert np.bincount(found.junk + 1, minlength=6).tolist() == [600, 100, 0, 0, 0, 300]
    sound = found.junk == SOUND
    assert np.bincount(found.species[sound]).tolist() == [30, 570]
    # A hypergeometric count of 30 of 600: s.d. 2.7 in half of the rows.
    assert abs(int((found.species[sound][:300] == 0).sum()) - 15) < 5 * 2.7
    other = assign(settings(1000, {"noise": 0.1, "broken": 0.3}, seed=seed + 10), [0.05, 0.95])
    assert (other.species != found.species).any()
    again = assign(settings(1000, {"noise": 0.1, "broken": 0.3}, seed=seed), [0.05, 0.95])
    assert all(np.array_equal(getattr(again, n), getattr(found, n)) for n in ("species", "junk", "turn"))


def test_broken_and_off_centre_images_are_of_species_in_proportion():
    found = assign(settings(4000, {"broken": 1.0}), [0.25, 0.75])
    assert set(found.junk) == {JUNK_KINDS.index("broken")}
    assert abs(float((found.species == 0).mean()) - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5


def test_drawn_shares_are_right_on_average_and_a_smaller_set_is_the_beginning():
    junk = {"blobs": 0.2}
    large = assign(settings(4000, junk, counts="drawn"), [0.6, 0.4])
    small = assign(settings(777, junk, counts="drawn"), [0.6, 0.4])
    for name in ("species", "junk", "turn"):
        assert np.array_equal(getattr(small, name), getattr(large, name)[:777])
    for share, rows in ((0.2, large.junk == 1), (0.8, large.junk == SOUND), (0.4, large.species == 1)):
        assert abs(float(rows.mean()) - share) < 5 * (share * (1 - share) / 4000) ** 0.5


def test_a_share_of_nothing_is_never_drawn():
    found = assign(settings(2000, {"noise": 1.0}, counts="drawn"), [1.0])
    assert set(found.junk) == {0}
