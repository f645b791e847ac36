"""The lines of resolution against the number of particles: planted ones are found, and their intervals hold them."""

import math

import numpy as np
import pytest

from blush.validate.reslog import Point, line, reslog

NUMBERS = [100 * 2**k for k in range(6)]


def points(bfactor_angst2, noise=0.0, seed=0, draws=3):
    """3 Å of the most particles, less of fewer by ln n = B / 2d² + constant."""
    rng, most = np.random.default_rng(seed), NUMBERS[-1]
    found = []
    for n in NUMBERS:
        for draw in range(draws):
            squared = 1 / 9 + 2 / bfactor_angst2 * math.log(n / most) + noise * rng.standard_normal()
            found.append(Point(n, draw, squared**-0.5, True))
    return found


def test_a_planted_line_is_found_exactly():
    found = reslog(points(150.0))
    assert found.bfactor_angst2 == pytest.approx((150, 150, 150))
    assert found.reached_angst(2 * NUMBERS[-1]) == pytest.approx((1 / 9 + 2 * math.log(2) / 150) ** -0.5)


def test_the_interval_holds_the_truth_in_95_of_100_draws():
    """Of 2,000 draws 1,900 are expected, give or take 10."""
    held = 0
    for seed in range(2000):
        _, low, high = reslog(points(150.0, 0.004, seed, draws=2)).bfactor_angst2
        held += low < 150 < high
    assert 1860 < held < 1940


def test_reslog_is_the_line_of_frequency_against_decades():
    found = [Point(n, 1, 1 / (0.05 + 0.08 * math.log10(n)), True) for n in NUMBERS]
    assert reslog(found).reslog.slope == pytest.approx(0.08)
    assert reslog(found).reslog.intercept == pytest.approx(0.05)


def test_points_that_do_not_count_bear_on_no_line():
    kept = points(150.0)
    odd = [Point(6400, 1, 2.0, False), Point(50, 1, math.inf, False)]
    assert reslog([*kept, *odd]).squared == reslog(kept).squared
    record = reslog([*kept, *odd]).record()
    assert record["points"][-1]["resolution_angst"] is None


def test_two_numbers_of_particles_make_no_line():
    found = reslog([point for point in points(150.0) if point.particles < 400])
    assert found.squared is None
    assert found.bfactor_angst2 is None
    assert found.record()["twice_as_many_angst"] is None


def test_where_more_particles_bring_nothing_there_is_no_bfactor():
    found = reslog([Point(n, 1, 3.0 + 1e-4 * n, True) for n in NUMBERS])
    assert found.bfactor_angst2 is None
    assert found.record()["squared_slope"] < 0


def test_least_squares_are_those_of_the_normal_equations():
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal(9), rng.standard_normal(9)
    design = np.stack([x, np.ones(9)], 1)
    (slope, intercept), (residual,), *_ = np.linalg.lstsq(design, y, rcond=None)
    found = line(x, y)
    assert (found.slope, found.intercept) == pytest.approx((slope, intercept))
    error = math.sqrt(residual / 7 * np.linalg.inv(design.T @ design)[0, 0])
    assert found.slope_high - found.slope == pytest.approx(2.3646 * error, rel=1e-4)  # Student's t of 7, 97.5 %
