"""How well two divisions of the same images into classes agree, by chance and beyond it; how true probabilities are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import random_table

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
N_BINS = 10
TABLES_AT_ONCE = 1_000_000
"""Entries of tables that are drawn at once, so that many classes do not fill the memory."""
GROUPS_AT_ONCE = 20_000_000
PERMUTATIONS = 20
"""Drawn to see what one division tells of another by chance."""


def contingency(first: Labels, second: Labels, n_first: int, n_second: int) -> Labels:
    """(n_first, n_second) images by their class in one division and in the other; classes count from 0."""
    flat = np.bincount(first * n_second + second, minlength=n_first * n_second)
    return flat.reshape(n_first, n_second)


def adjusted_rand(table: NDArray[np.float64] | Labels) -> Floats:
    """Adjusted Rand index of contingency tables (..., rows, columns): 1 for equal divisions, 0 on average by chance.

    Where either division has one class only, there is nothing to agree on, and it is 0, unless both have.

    References
    ----------
    Hubert & Arabie 1985, doi:10.1007/BF01908075.
    """
    table = np.asarray(table, dtype=np.float64)
    together = _pairs(table).sum((-2, -1))
    rows, columns = _pairs(table.sum(-1)).sum(-1), _pairs(table.sum(-2)).sum(-1)
    chance = rows * columns / np.maximum(_pairs(table.sum((-2, -1))), 1)
    most = (rows + columns) / 2
    same = np.where(together == most, 1.0, 0.0)
    return np.divide(together - chance, most - chance, out=same, where=most > chance)


def _pairs(count: Floats) -> Floats:
    """Pairs among `count` images."""
    return count * (count - 1) / 2


def matched(table: Labels) -> Labels:
    """For every row of a contingency table its partner among the columns, such that most images agree; -1 for none.

    References
    ----------
    Kuhn 1955, doi:10.1002/nav.3800020109.
    """
    rows, columns = linear_sum_assignment(table, maximize=True)
    partner = np.full(len(table), -1, dtype=np.int64)
    partner[rows] = columns
    return partner


def matched_accuracy(table: Labels) -> float:
    """Fraction of the images whose two classes are partners."""
    partner = matched(table)
    rows = np.flatnonzero(partner >= 0)
    return float(table[rows, partner[rows]].sum() / table.sum())


def mutual_information(table: Labels) -> float:
    """Mutual information of two divisions over the mean of their entropies, 0 to 1; 1 where both have one class.

    References
    ----------
    Vinh, Epps & Bailey 2010, Journal of Machine Learning Research 11:2837.
    """
    joint = table / table.sum()
    entropies = [_entropy(joint.sum(axis)) for axis in (0, 1)]
    if max(entropies) == 0:
        return 1.0
    return float(max(0.0, 2 * (sum(entropies) - _entropy(joint.ravel())) / sum(entropies)))


def explained(first: Labels, second: Labels, seed: int) -> float:
    """Share of the entropy of one division that another one tells, beyond what it tells of permuted labels: 0 to 1.

    The mutual information over the entropy of the first alone, so that it is 1 where the second decides the first,
    however fine it is; corrected as Vinh, Epps & Bailey 2010 correct theirs. 0 where there is nothing to be told.

    Parameters
    ----------
    first, second
        (n,) from 0.
    """
    shape = (int(first.max()) + 1, int(second.max()) + 1)
    rng = np.random.default_rng(seed)
    chance = float(np.mean([_told(contingency(rng.permutation(first), second, *shape)) for _ in range(PERMUTATIONS)]))
    most = _entropy(np.bincount(first) / len(first))
    if most - chance <= 0:
        return 0.0
    return max(0.0, (_told(contingency(first, second, *shape)) - chance) / (most - chance))


def _told(table: Labels) -> float:
    """Mutual information in nats."""
    joint = table / table.sum()
    return _entropy(joint.sum(0)) + _entropy(joint.sum(1)) - _entropy(joint.ravel())


def _entropy(probability: Floats) -> float:
    used = probability[probability > 0]
    return float(-(used * np.log(used)).sum())


def beyond_chance(table: Labels) -> Floats:
    """Cohen's kappa of every class k of a square table: agreement on what is in k and what is not, beyond chance.

    0 where no image, or every image, is in k.

    References
    ----------
    Cohen 1960, doi:10.1177/001316446002000104.
    """
    share = table / table.sum()
    first, second, both = share.sum(1), share.sum(0), share.diagonal()
    agreement = 1 - first - second + 2 * both
    chance = first * second + (1 - first) * (1 - second)
    return np.divide(agreement - chance, 1 - chance, out=np.zeros(len(table)), where=chance < 1)


def by_chance(table: Labels, n_draws: int, seed: int) -> Floats:
    """(n_draws,) adjusted Rand indices where the images of one division are permuted, ascending.

    Such tables have the margins of the given one, and are drawn as tables (Patefield 1981, doi:10.2307/2346669).
    """
    used = table[table.sum(1) > 0][:, table.sum(0) > 0]
    if min(used.shape) < 2:  # there is one table of these margins
        return np.full(n_draws, adjusted_rand(used))
    rng = np.random.default_rng(seed)
    drawn = random_table(used.sum(1), used.sum(0))
    sizes = _batches(n_draws, max(1, TABLES_AT_ONCE // table.size))
    return np.sort(np.concatenate([adjusted_rand(drawn.rvs(size=size, random_state=rng)) for size in sizes]))


def resampled(
    first: Labels, second: Labels, shape: tuple[int, int], group: Labels | None, n_draws: int, seed: int
) -> Floats:
    """(n_draws,) adjusted Rand indices of bootstrap samples, ascending.

    Parameters
    ----------
    shape
        Numbers of classes.
    group
        (n,) from 0: rows of one group, as copies of an image, are drawn together; None: each row alone.
    """
    rng = np.random.default_rng(seed)
    if group is None:
        table = contingency(first, second, *shape)
        total = int(table.sum())
        sizes = _batches(n_draws, max(1, TABLES_AT_ONCE // table.size))
        drawn_tables = (rng.multinomial(total, table.ravel() / total, size=size) for size in sizes)
        return np.sort(np.concatenate([adjusted_rand(each.reshape(-1, *shape)) for each in drawn_tables]))
    n_groups = int(group.max()) + 1
    cell = first * shape[1] + second
    values = []
    for size in _batches(n_draws, max(1, GROUPS_AT_ONCE // n_groups)):
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=size)
        tables = np.zeros((size, shape[0] * shape[1]))
        for c in range(shape[0] * shape[1]):
            tables[:, c] = drawn @ np.bincount(group[cell == c], minlength=n_groups)
        values.append(adjusted_rand(tables.reshape(-1, *shape)))
    return np.sort(np.concatenate(values))


def _batches(total: int, size: int) -> list[int]:
    return [min(size, total - begin) for begin in range(0, total, size)]


@dataclass(frozen=True)
class Calibration:
    """Stated probabilities against what they came to, in ten bins of equal width from 0 to 1.

    Attributes
    ----------
    count
        (10,) images in each bin.
    probability, accuracy
        (10,) mean stated probability, and fraction that was right; 0 in bins without images.
    error
        Mean over images of the difference of the two in their bin.
    """

    count: Labels
    probability: Floats
    accuracy: Floats
    error: float


def calibration(probability: Floats, is_right: NDArray[np.bool_]) -> Calibration:
    """Whether labels of a stated probability are right as often as it says.

    Parameters
    ----------
    probability
        (n,) of the label that each image was given.

    References
    ----------
    Naeini, Cooper & Hauskrecht 2015, AAAI 29:2901 (expected calibration error).
    """
    bins = np.clip((probability * N_BINS).astype(np.int64), 0, N_BINS - 1)
    count = np.bincount(bins, minlength=N_BINS)
    stated = np.bincount(bins, probability, N_BINS) / np.maximum(count, 1)
    found = np.bincount(bins, is_right, N_BINS) / np.maximum(count, 1)
    return Calibration(count, stated, found, float((np.abs(stated - found) * count).sum() / count.sum()))
