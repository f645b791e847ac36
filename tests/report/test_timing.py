"""Wall, busy and processor time from the log."""

import pytest

from blush.report.run_data import read_run
from blush.report.timing import by_iteration, by_stage, compact, duration, union_seconds


@pytest.mark.parametrize(
    ("intervals", "expected"),
    [
        ([], 0),
        ([(0, 2)], 2),
        ([(0, 2), (1, 3)], 3),
        ([(0, 5), (1, 2)], 5),
        ([(4, 5), (0, 1)], 2),
        ([(0, 1), (1, 2)], 2),
    ],
)
def test_union_counts_overlap_once_and_gaps_never(intervals, expected):
    assert union_seconds(intervals) == expected


def test_shards_side_by_side_count_once_by_the_clock_and_partial_records_never(finished_run):
    stages = by_stage(read_run(finished_run).progress)
    assert list(stages) == ["start", "expectation", "converge"]
    expectation = stages["expectation"]  # 3 iterations x 2 halves of 20 s, both at once
    assert (expectation.wall, expectation.busy, expectation.cpu) == (60, 120, 60)


def test_iterations_are_timed_without_the_pauses_between_them(finished_run):
    iterations = by_iteration(read_run(finished_run).progress)
    assert {n: spent.wall for n, spent in iterations.items()} == {0: 1, 1: 22, 2: 22, 3: 22}


def test_a_cut_line_is_left_out(finished_run):
    assert len(read_run(finished_run).progress) == 1 + 3 * 7


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (41.2, "41 s"), (65, "1 min 05 s"), (3720, "1 h 02 min"), (59.7, "1 min 00 s")],
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(41.2, "41 s"), (264, "4.4 min"), (8280, "2.3 h")])
def test_compact_durations_are_one_number(seconds, text):
    assert compact(seconds) == text
