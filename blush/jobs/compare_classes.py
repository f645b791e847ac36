"""Agreement of the classes of two particle tables: two seeds, two programs, or a result and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.columns import numbers
from blush.io.cs_fields import AS_IT_IS
from blush.io.cs_table import is_cs, read_cs
from blush.io.particle_columns import BLOCK
from blush.io.star import Table, read_star
from blush.validate.partitions import (
    Calibration,
    adjusted_rand,
    by_chance,
    calibration,
    contingency,
    matched,
    matched_accuracy,
    mutual_information,
    resampled,
)

TITLE = "classes cannot be compared"
CLASS, IMAGE, PROBABILITY = "rlnClassNumber", "rlnImageName", "rlnMaxValueProbDistribution"
DRAWS = 1000
_SEED = 1


@dataclass(frozen=True)
class ClassesCompared:
    """Agreement of two tables on the images that both hold.

    Attributes
    ----------
    first, second
        Numbers of the classes of each table, ascending.
    table
        (first, second) images in each pair of classes.
    adjusted_rand, interval, chance
        Adjusted Rand index, its bootstrap interval of 95 %, and what it exceeds by chance in 5 of 100 cases.
    calibration
        Whether the first table's probabilities are true where the second has the right classes; None where it has none.
    """

    first: list[int]
    second: list[int]
    table: NDArray[np.int64]
    adjusted_rand: float
    interval: tuple[float, float]
    chance: float
    accuracy: float
    mutual_information: float
    calibration: Calibration | None

    def lines(self) -> list[str]:
        """What the user is told."""
        told = [
            f"{self.table.sum()} images: adjusted Rand index {self.adjusted_rand:.3f} (95 % interval "
            f"{self.interval[0]:.3f} to {self.interval[1]:.3f}, by chance up to {self.chance:.3f}), accuracy "
            f"{self.accuracy:.3f} with classes matched, mutual information {self.mutual_information:.3f}",
            "class".ljust(10) + "".join(f"{number:>10}" for number in self.second),
        ]
        rows = zip(self.first, self.table.tolist(), strict=True)
        told += [f"{number:<10}" + "".join(f"{count:>10}" for count in row) for number, row in rows]
        if self.calibration is not None:
            told.append(f"calibration error of the first table's probabilities: {self.calibration.error:.3f}")
        return told


def compare_classes(first: Path, second: Path) -> ClassesCompared:
    """Compare `rlnClassNumber` of two particle tables, image by image.

    Raises
    ------
    BlushError
        Where a table has no classes, or lists an image twice, or no image is in both.
    """
    tables = [_particles(star) for star in (first, second)]
    names = [_names(table, star) for table, star in zip(tables, (first, second), strict=True)]
    _, rows, other_rows = np.intersect1d(names[0], names[1], return_indices=True)
    if not len(rows):
        remedy = "give two tables of one data set, whose rlnImageName are spelled alike"
        raise BlushError(TITLE, [Problem(f"has no image of {second}", remedy, str(first), BLOCK, str(names[0][0]))])
    problems: list[Problem] = []
    classes = [
        np.unique(numbers(table, CLASS, 0.0, BLOCK, star, problems)[kept].astype(np.int64), return_inverse=True)
        for table, star, kept in zip(tables, (first, second), (rows, other_rows), strict=True)
    ]
    probability = numbers(tables[0], PROBABILITY, 0.0, BLOCK, first, problems)[rows]
    if problems:
        raise BlushError(TITLE, problems)
    (known, one), (others, two) = classes
    table = contingency(one, two, len(known), len(others))
    is_right = matched(table)[one] == two
    low, high = np.quantile(resampled(one, two, table.shape, None, DRAWS, _SEED), (0.025, 0.975))
    return ClassesCompared(
        known.tolist(),
        others.tolist(),
        table,
        float(adjusted_rand(table)),
        (float(low), float(high)),
        float(np.quantile(by_chance(table, DRAWS, _SEED), 0.95)),
        matched_accuracy(table),
        mutual_information(table),
        calibration(probability, is_right) if PROBABILITY in tables[0] else None,
    )


def _particles(path: Path) -> Table:
    """Columns of the particles of a STAR file, or of a table of cryoSPARC."""
    if not is_cs(path):
        return read_star(path).get("particles", {})
    problems: list[Problem] = []
    blocks = read_cs(path, AS_IT_IS, problems)
    if problems:
        raise BlushError(TITLE, problems)
    return blocks["particles"]


def _names(table: Table, star: Path) -> NDArray[np.str_]:
    """Names of the images of a table with classes, each once."""
    if missing := [name for name in (IMAGE, CLASS) if name not in table]:
        remedy = "give a particle table with classes"
        raise BlushError(TITLE, [Problem(f"columns are missing: {', '.join(missing)}", remedy, str(star), BLOCK)])
    names = np.asarray(table[IMAGE], dtype=np.str_)
    known, count = np.unique(names, return_counts=True)
    if (count > 1).any():
        remedy = "compare the tables before symmetry expansion"
        raise BlushError(TITLE, [Problem("image is listed twice", remedy, str(star), BLOCK, str(known[count > 1][0]))])
    return names
