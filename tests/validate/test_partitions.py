"""Agreement of divisions against tables that are worked out by hand."""

import math

import numpy as np
import pytest

from blush.validate.partitions import (
    adjusted_rand,
    beyond_chance,
    by_chance,
    calibration,
    contingency,
    explained,
    matched,
    matched_accuracy,
    mutual_information,
    resampled,
)


def test_images_are_counted_by_both_classes():
    table = contingency(np.array([0, 0, 1, 2, 2]), np.array([1, 1, 0, 1, 0]), 3, 2)
    assert table.tolist() == [[0, 2], [1, 0], [1, 1]]


def test_the_adjusted_rand_index_of_a_small_table():
    """Rows 3 and 3, columns 2, 2, 2: pairs together 2, in rows 6, in columns 3, of 15; (2 - 1.2)/(4.5 - 1.2)."""
    assert adjusted_rand(np.array([[2, 1, 0], [0, 1, 2]])) == pytest.approx(0.8 / 3.3, abs=1e-12)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[5, 0], [0, 3]], 1.0),
        ([[0, 5], [3, 0]], 1.0),  # names do not matter
        ([[5, 3]], 0.0),  # one class says nothing of two
        ([[8]], 1.0),
        ([[1, 1], [1, 1]], -0.5),  # no pair is together in both: (0 - 2/3)/(2 - 2/3)
    ],
)
def test_adjusted_rand_indices_of_special_tables(table, expected):
    assert adjusted_rand(np.array(table)) == pytest.approx(expected, abs=1e-12)


def test_many_tables_at_once_are_the_same_as_one_by_one():
    tables = np.random.default_rng(1).integers(0, 20, (7, 3, 4))
    np.testing.assert_allclose(adjusted_rand(tables), [adjusted_rand(table) for table in tables], rtol=1e-12)


def test_classes_are_matched_so_that_most_images_agree():
    """The greedy choice of 9 first would leave 9 + 0 where 8 + 7 is there."""
    table = np.array([[9, 8], [7, 0]])
    assert matched(table).tolist() == [1, 0]
    assert matched_accuracy(table) == pytest.approx(15 / 24)


def test_a_class_too_many_has_no_partner():
    table = np.array([[5, 0], [4, 6], [0, 1]])
    assert matched(table).tolist() == [0, 1, -1]
    assert matched_accuracy(table) == pytest.approx(11 / 16)


def test_mutual_information_of_a_table_by_hand():
    """Equal halves, three quarters of each agree: H = ln 2 each, joint of 3/8 and 1/8 twice each."""
    joint = -2 * (3 / 8 * math.log(3 / 8) + 1 / 8 * math.log(1 / 8))
    assert mutual_information(np.array([[3, 1], [1, 3]])) == pytest.approx(2 - joint / math.log(2), abs=1e-12)
    assert mutual_information(np.array([[4, 0], [0, 2]])) == pytest.approx(1, abs=1e-12)
    assert mutual_information(np.array([[2, 2], [3, 3]])) == pytest.approx(0, abs=1e-12)
    assert mutual_information(np.array([[6]])) == 1


def test_kappa_of_every_class():
    """Class 0: in both 20, in neither 15, of 50; chance 0.5 * 0.6 + 0.5 * 0.4 (Cohen's example)."""
    kappa = beyond_chance(np.array([[20, 5], [10, 15]]))
    np.testing.assert_allclose(kappa, [0.4, 0.4], atol=1e-12)
    assert beyond_chance(np.array([[7, 0], [0, 0]])).tolist() == [0, 0]


def test_by_chance_labels_agree_as_permuted_ones_do():
    """Means are 0, and the spread is that of permutations made one by one."""
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 2, 200), rng.integers(0, 3, 200)
    drawn = by_chance(contingency(first, second, 2, 3), 4000, seed=1)
    by_hand = [adjusted_rand(contingency(first, rng.permutation(second), 2, 3)) for _ in range(2000)]
    assert abs(drawn.mean()) < 4 * drawn.std() / math.sqrt(4000)
    assert drawn.std() == pytest.approx(np.std(by_hand), rel=0.1)
    assert np.quantile(drawn, 0.95) == pytest.approx(np.quantile(by_hand, 0.95), abs=0.003)
    np.testing.assert_array_equal(drawn, by_chance(contingency(first, second, 2, 3), 4000, seed=1))
    assert (np.diff(drawn) >= 0).all()


@pytest.mark.parametrize(("table", "expected"), [([[30, 20]], 0), ([[30, 20], [0, 0]], 0), ([[50]], 1)])
def test_where_one_division_is_none_chance_gives_what_there_is(table, expected):
    assert by_chance(np.array(table), 3, seed=1).tolist() == [expected] * 3


def test_many_draws_of_many_classes_are_of_the_number_asked_for():
    labels = np.random.default_rng(2).integers(0, 40, 500)
    assert len(by_chance(contingency(labels, labels, 40, 40), 1300, seed=1)) == 1300


@pytest.mark.parametrize("seed", [1, 2])
def test_bootstrap_intervals_hold_the_index_of_all_images(seed):
    """95 % intervals of samples of one distribution whose index is that of the table of probabilities."""
    rng = np.random.default_rng(seed)
    cells = np.array([0.4, 0.1, 0.1, 0.4])
    true = adjusted_rand(cells.reshape(2, 2) * 1e9)
    held = 0
    for draw in range(100):
        cell = rng.choice(4, 400, p=cells)
        values = resampled(cell // 2, cell % 2, (2, 2), None, 400, draw)
        held += values[10] <= true <= values[389]
    assert 87 <= held <= 99


def test_copies_of_an_image_count_as_one():
    """Ten copies of every image leave the spread as it is; counted apart, they would make it sqrt(10) smaller."""
    rng = np.random.default_rng(3)
    first, second = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    second = np.where(rng.random(300) < 0.6, first, second)
    alone = resampled(first, second, (2, 2), None, 2000, 1)
    copies = resampled(first.repeat(10), second.repeat(10), (2, 2), np.arange(300).repeat(10), 2000, 1)
    assert copies.std() == pytest.approx(alone.std(), rel=0.1)


def test_calibration_in_bins():
    """0.95 said of four of which three are right, 0.55 of one that is right: (4 * 0.2 + 1 * 0.45)/5."""
    found = calibration(np.array([0.95, 0.95, 0.55, 0.95, 0.95]), np.array([True, True, True, True, False]))
    assert found.count.tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 4]
    assert found.accuracy[[5, 9]].tolist() == [1.0, 0.75]
    assert found.probability[9] == pytest.approx(0.95)
    assert found.error == pytest.approx((4 * 0.2 + 0.45) / 5, abs=1e-12)


def test_a_probability_of_one_is_in_the_last_bin():
    found = calibration(np.ones(3), np.array([True, False, False]))
    assert found.count.tolist() == [0] * 9 + [3]
    assert found.error == pytest.approx(2 / 3)


def test_what_decides_the_classes_explains_them_however_fine_it_is():
    """Each of ten micrographs is in one class: all is told, though the micrographs' own entropy is far larger."""
    micrograph = np.arange(200) % 10
    assert explained((micrograph < 3).astype(np.int64), micrograph, 1) == pytest.approx(1, abs=1e-9)


def test_chance_explains_nothing():
    """100 micrographs of 10 images tell 5 % of random classes by their number alone."""
    rng = np.random.default_rng(3)
    labels, micrograph = rng.integers(0, 2, 1000), np.arange(1000) % 100
    plain = contingency(labels, micrograph, 2, 100) / 1000
    raw = (
        -(plain.sum(0) * np.log(plain.sum(0))).sum() + math.log(2) + (plain[plain > 0] * np.log(plain[plain > 0])).sum()
    )
    assert raw / math.log(2) > 0.05
    assert explained(labels, micrograph, 1) < 0.02


def test_one_class_leaves_nothing_to_explain():
    assert explained(np.zeros(8, dtype=np.int64), np.arange(8) % 2, 1) == 0


def test_half_of_what_there_is_to_know():
    """Four classes of equal size, and a second division that tells the pair but not which of it: half the entropy."""
    labels = np.tile(np.arange(4), 1000)
    assert explained(labels, labels // 2, 1) == pytest.approx(0.5, abs=0.002)
