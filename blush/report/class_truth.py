"""Classes against the truth of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.columns import n_rows, numbers
from blush.io.particle_columns import BLOCK, NUMERIC_COLUMNS
from blush.io.star import read_star
from blush.jobs.progress import Record
from blush.validate.partitions import (
    Calibration,
    adjusted_rand,
    by_chance,
    calibration,
    contingency,
    matched,
    matched_accuracy,
)

CLASS, NAME = "rlnClassNumber", "blushClassName"
_DRAWS, _SEED = 1000, 1


@dataclass(frozen=True)
class ClassTruth:
    """Agreement with the true classes.

    Attributes
    ----------
    names
        True classes, in the order of the columns of `table`.
    table
        (K, true classes) images.
    chance
        Adjusted Rand index that permuted labels exceed in 5 of 100 cases.
    accuracy
        Share of the images whose class is the partner of their true class.
    """

    names: tuple[str, ...]
    table: NDArray[np.int64]
    adjusted_rand: float
    chance: float
    accuracy: float
    calibration: Calibration


def compared_with_truth(config: Record, labels: NDArray[np.int64], posterior: NDArray[np.float64]) -> ClassTruth | None:
    """Compare classes with `rlnClassNumber` of `truth.particles`, row by row; None where none are known.

    Parameters
    ----------
    config
        Configuration of the run.
    labels
        (n,) from 1.
    posterior
        (n,) of these labels.

    Raises
    ------
    BlushError
        The table cannot be read, or has other rows.
    """
    if not config.get("truth"):
        return None
    star = Path(config["truth"]["particles"])
    table, problems = read_star(star, NUMERIC_COLUMNS).get("particles", {}), list[Problem]()
    if CLASS not in table:
        return None
    if n_rows(table) != len(labels):
        remedy = f"give the truth of the {len(labels)} images of the run, in their order"
        problems.append(Problem("has other rows", remedy, str(star), BLOCK, str(n_rows(table))))
    true, columns = np.unique(numbers(table, CLASS, 0.0, BLOCK, star, problems), return_inverse=True)
    if problems:
        raise BlushError("truth cannot be used", problems)
    first = np.unique(columns, return_index=True)[1]
    names = [f"{number:g}" for number in true]
    if NAME in table:
        names = [f"{number} {table[NAME][row]}" for number, row in zip(names, first, strict=True)]
    found = contingency(labels - 1, columns, int(labels.max()), len(true))
    is_right = matched(found)[labels - 1] == columns
    return ClassTruth(
        names=tuple(names),
        table=found,
        adjusted_rand=float(adjusted_rand(found)),
        chance=float(np.quantile(by_chance(found, _DRAWS, _SEED), 0.95)),
        accuracy=matched_accuracy(found),
        calibration=calibration(posterior, is_right),
    )
