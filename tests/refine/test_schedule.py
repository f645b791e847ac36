"""Image sizes, perturbation and offset rules, against values worked out by hand."""

import math

import numpy as np
import pytest

from blush.maximization.resolution import resolution_shell
from blush.refine import schedule
from blush.refine.schedule import OffsetGrid, finer_offsets


def fsc_falling(first_below_half: int, first_below_0143: int, shells: int = 65) -> np.ndarray:
    shell = np.arange(shells)
    return np.where(shell < first_below_half, 0.9, np.where(shell < first_below_0143, 0.3, 0.0))


@pytest.mark.parametrize(("value", "nearest"), [(0.5, 1), (1.5, 2), (2.5, 3), (2.49, 2), (0.0, 0)])
def test_halves_round_upwards(value, nearest):
    assert schedule.round_half_away(value) == nearest


@pytest.mark.parametrize(("order", "step_deg"), [(0, 60), (1, 30), (2, 15), (3, 7.5), (4, 3.75), (5, 1.875)])
def test_angular_step_halves_with_each_order(order, step_deg):
    assert schedule.angular_step_deg(order) == step_deg
    assert schedule.angular_step_deg(order, 1) == step_deg / 2


def test_local_prior_is_two_fine_steps_wide():
    assert schedule.local_sigma_deg(4, 1) == 3.75


def test_shell_of_resolution_stops_at_nyquist():
    assert schedule.shell_of_resolution(40.0, 128, 1.5) == 5  # 4.8
    assert schedule.shell_of_resolution(1.0, 128, 1.5) == 64


@pytest.mark.parametrize(
    ("previous", "half", "low", "expected"),
    [
        (10, 20, 24, 10),  # 24 - 20 + 5 = 9
        (10, 20, 30, 15),
        (15, 20, 22, 15),  # never fewer than before
        (10, 65, 65, 10),  # never crossed
    ],
)
def test_a_slow_fall_of_the_fsc_widens_the_increment(previous, half, low, expected):
    assert schedule.increment_shells(previous, fsc_falling(half, low)) == expected


@pytest.mark.parametrize(
    ("shell", "pmax", "high", "final", "expected"),
    [
        (5, 0.0, False, False, 30),
        (5, 0.5, False, False, 30),
        (5, 0.1, True, False, 30),  # Pmax must exceed 0.1
        (5, 0.11, True, False, 42),  # 0.25 * 64 = 16 shells
        (60, 0.5, False, False, 128),  # never above the box
        (5, 0.0, False, True, 128),  # the last iteration uses everything
    ],
)
def test_current_size(shell, pmax, high, final, expected):
    assert schedule.current_size(128, shell, 10, pmax, high, final) == expected


def test_coarse_size_resolves_the_arc_of_one_step():
    # 15 degrees on a 120 Å particle: 15.708 Å, over 1.2 = 13.09 Å; 128 * 1.5 / 13.09 = 14.67 shells
    assert schedule.coarse_size(128, 1.5, 120.0, 2, 128) == 30
    assert schedule.coarse_size(128, 1.5, 120.0, 3, 128) == 60
    assert schedule.coarse_size(128, 1.5, 120.0, 3, 44) == 44


def test_perturbation_depends_on_seed_and_iteration_only():
    once = schedule.next_perturbation(0.1, 0.5, 7, 3)
    assert once == schedule.next_perturbation(0.1, 0.5, 7, 3)
    assert once != schedule.next_perturbation(0.1, 0.5, 7, 4)
    assert once != schedule.next_perturbation(0.1, 0.5, 8, 3)


def test_perturbation_moves_by_a_quarter_to_half_a_step_and_wraps():
    p = 0.0
    seen = []
    for iteration in range(1, 400):
        new = schedule.next_perturbation(p, 0.5, 1, iteration)
        assert 0.25 <= (new - p) % 1.0 <= 0.5
        p = new
        seen.append(p)
    assert -0.5 <= min(seen) < -0.45
    assert 0.45 < max(seen) < 0.5
    assert abs(np.mean(seen)) < 4 * 0.289 / math.sqrt(400)  # spread evenly over the window


def test_no_perturbation_when_turned_off():
    assert schedule.next_perturbation(0.3, 0.0, 1, 1) == 0.0


@pytest.mark.parametrize(
    ("accuracy", "change", "expected"),
    [
        # step = 0.75 * 1 * 2 = 1.5; range = min(1.3 * 7.5, 5 * 0.5) = 2.5, at least 2.25
        (1.0, 0.5, OffsetGrid(2.5, 1.5)),
        # at least one and a half steps
        (1.0, 0.1, OffsetGrid(2.25, 1.5)),
        # range 9.75 > 4 * 1.5: halved to 4.875
        (1.0, 10.0, OffsetGrid(4.875, 1.5)),
        # step 0.3, range 9.75 -> 4.875 > 1.2 still: step = a quarter of it
        (0.2, 10.0, OffsetGrid(4.875, 4.875 / 4)),
        # at most 1.5 Å fine, 3 Å coarse; not larger than the present 3 Å
        (9.0, 10.0, OffsetGrid(9.75, 3.0)),
    ],
)
def test_offset_rules(accuracy, change, expected):
    found = finer_offsets(OffsetGrid(7.5, 3.0), accuracy, change, 1)
    assert found.range_angst == pytest.approx(expected.range_angst)
    assert found.step_angst == pytest.approx(expected.step_angst)


def test_an_offset_step_never_grows():
    present = OffsetGrid(2.0, 1.0)
    assert finer_offsets(present, 3.0, 1.0, 1) == present


@pytest.mark.parametrize(
    ("good_shells", "expected"),
    [
        (range(1, 13), 12),
        (range(1, 3), 5),  # never fewer than 5
        ([], 5),
        (range(1, 33), 32),
        ([*range(1, 13), 15], 12),  # 3 shells higher: a stray one
        ([*range(1, 13), 16], 16),  # more than 3: a dip
        ([2, 3, 4], 5),
    ],
)
def test_resolution_is_where_signal_last_equals_noise(good_shells, expected):
    ssnr = np.full(33, 0.99)
    ssnr[list(good_shells)] = 1.0
    assert resolution_shell(ssnr, over_gaps=True) == expected


def test_a_stray_shell_never_raises_what_is_reported_in_the_end():
    ssnr = np.where(np.isin(np.arange(33), [*range(1, 13), 25]), 2.0, 0.5)
    assert resolution_shell(ssnr, over_gaps=True) == 25
    assert resolution_shell(ssnr, over_gaps=False) == 12
