"""Differences of evidence against sums that are done by hand."""

import numpy as np
import pytest

from blush.validate.filament_evidence import compare

FILAMENT = np.array([5, 2, 2, 5, 7, 9, 7, 9])
HALF = np.array([1, 1, 1, 1, 2, 2, 2, 2])


def test_segments_add_up_by_filament_and_half():
    """Filament 2: 2 + 3, filament 5: 1 + 4, filament 7: 5 + 7, filament 9: 6 + 8."""
    found = compare(np.arange(1.0, 9), np.zeros(8), FILAMENT, HALF)
    assert found.per_filament.tolist() == [5, 5, 12, 14]
    assert found.by_half == (10, 26)
    assert found.total == 36
    assert found.error == pytest.approx(np.sqrt(2 * 0 + 2 * 2))


@pytest.mark.parametrize(
    ("per_segment", "expected"),
    [
        ([1, 1, 1, 1, 1, 1, 1, 1], "better"),
        ([-1, -1, -1, -1, -1, -1, -1, -1], "worse"),
        ([9, 9, 9, 9, -1, -1, -1, -1], "not told apart"),  # halves contradict each other
        ([9, 0, 0, 9, 0, 0, 0, 0], "not told apart"),  # one half alone
        ([9, 0, 0, 0, 9, 0, 0, 0], "not told apart"),  # one filament of each half
    ],
)
def test_a_difference_counts_where_filaments_and_both_halves_agree(per_segment, expected):
    assert compare(np.array(per_segment, float), np.zeros(8), FILAMENT, HALF).verdict == expected


def test_two_runs_must_differ_by_more_than_chance_makes_of_one():
    near, far = np.full(8, 0.9), np.full(8, 1.1)
    assert compare(near, np.zeros(8), FILAMENT, HALF).verdict == "better"
    assert compare(near, np.zeros(8), FILAMENT, HALF, one_run=False).verdict == "not told apart"
    assert compare(far, np.zeros(8), FILAMENT, HALF, one_run=False).verdict == "better"


def test_a_single_filament_of_a_half_has_no_error():
    one = FILAMENT != 9
    found = compare(np.ones(6), np.zeros(6), FILAMENT[one], HALF[one])
    assert found.error == np.inf
    assert found.verdict == "not told apart"
