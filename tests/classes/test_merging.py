"""How many classes are supported, on likelihoods that are written down."""

import numpy as np
import pytest
from scipy.special import logsumexp

from blush.classes.given_poses import ClassSettings, in_parts
from blush.classes.merging import Estimate, mean_of, supported
from blush.io.optics import OpticsGroup


def test_the_error_of_a_mean_counts_copies_once():
    values = np.array([1.0, 3.0, 2.0, 6.0])
    alone = mean_of(values, np.arange(4))
    assert (alone.mean, alone.n) == (3.0, 4)
    assert alone.error == pytest.approx(np.std(values, ddof=1) / 2)
    copies = mean_of(values.repeat(5), np.arange(4).repeat(5))
    assert copies.error == pytest.approx(alone.error)


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(0.01, 0.001, 1000), True),
        (Estimate(0.0029, 0.001, 10_000), False),  # 2.9 standard errors
        (Estimate(0.004, 1e-6, 1000), False),  # 4 nats in all: Jeffreys' "decisive" begins at ln 100 = 4.6
        (Estimate(-0.1, 0.01, 1000), False),
    ],
)
def test_a_gain_has_to_be_beyond_its_error_and_not_tiny(estimate, expected):
    assert estimate.is_decisive is expected


def gain_of_classes(likelihood):
    """Of images whose log likelihoods by each class are given; classes that are one have the mean of their maps."""

    def gain(classes):
        total = likelihood.mean(1)
        each = [likelihood[:, sorted(one)].mean(1) - total + np.log(len(one) / likelihood.shape[1]) for one in classes]
        return logsumexp(np.stack(each, 1), axis=1)

    return gain


def test_two_classes_that_are_the_same_become_one():
    """Of three classes the second and third differ by nothing; the first prefers its images by 8 nats."""
    truth = np.random.default_rng(1).random(400) < 0.5
    likelihood = np.stack([8.0 * truth, 8.0 * ~truth, 8.0 * ~truth], 1)
    left, costs = supported(3, gain_of_classes(likelihood), np.arange(400))
    assert left == [frozenset([0]), frozenset([1, 2])]
    assert [(a, b) for a, b, _ in costs] == [(frozenset([0]), frozenset([1, 2]))]
    assert costs[0][2].mean > 1


def test_what_is_needed_next_is_told_before():
    """Of three classes two are one: all pairs first, then the one pair that is left."""
    truth = np.arange(400) % 2 == 0
    likelihood = np.stack([8.0 * truth, 8.0 * ~truth, 8.0 * ~truth], 1)
    told = []
    supported(3, gain_of_classes(likelihood), np.arange(400), told.append)
    assert told == [[frozenset(pair) for pair in ([0, 1], [0, 2], [1, 2])], [frozenset([0, 1, 2])]]


def test_classes_that_predict_nothing_all_become_one():
    likelihood = np.zeros((300, 4))
    left, costs = supported(4, gain_of_classes(likelihood), np.arange(300))
    assert (left, costs) == ([frozenset(range(4))], [])


def test_rows_of_one_group_are_in_one_part_and_parts_are_even():
    together = np.arange(40).repeat(3)
    part = in_parts(together, 4, np.random.default_rng(1))
    assert all(len(set(part[together == g])) == 1 for g in range(40))
    assert np.bincount(part).tolist() == [30] * 4


def test_the_radius_of_the_comparison_is_cut_to_limit_and_memory():
    """Sums of 2 classes in 4 folds and 2 more at radius 12 have 12 times 59 * 59 * 30 cells of 16 bytes: 20 MB."""

    class Images:
        optics = (OpticsGroup("g", 300.0, 2.7, 0.1, 2.0, 64),)

    assert ClassSettings(2, 80.0).largest_radius(Images) == 32
    assert ClassSettings(2, 80.0, resolution_limit_angst=16).largest_radius(Images) == 8
    radius = ClassSettings(2, 80.0, memory_bytes=12 * 16 * 59 * 59 * 30).largest_radius(Images)
    assert 11 <= radius <= 13
