"""Tables with tabs, as people and spreadsheets write them: a head that names the columns, then one row a line."""

import csv
import math
from collections.abc import Collection, Sequence
from io import StringIO
from pathlib import Path
from typing import TypeAlias

import numpy as np

from blush.config.input_file import read_text
from blush.errors import BlushError, Problem

Row: TypeAlias = dict[str, str]

_NO_NUMBERS = ("nan", "inf", "-inf")
_LARGEST, _MOST_ROWS, _MOST_LISTED = 1 << 25, 100_000, 20
_LONGEST_SHOWN = 80
_REMEDY = "write it as text in UTF-8, with a tab between the values of a row"


def read_cells(path: Path, title: str, missing: str) -> list[tuple[int, list[str]]]:
    """Rows that are not blank, each with the number of its line.

    Parameters
    ----------
    title
        What could not be done where the table cannot be read.
    missing
        What to do where there is no such file.

    Raises
    ------
    BlushError
        Where the file is missing, is no text, is larger than any such table, or has a quote that does not end.
    """
    text = read_text(path, title, missing).removeprefix("\ufeff")
    if len(text) > _LARGEST or text.count("\n") > _MOST_ROWS:
        problem = Problem(f"has more than {_MOST_ROWS} rows or {_LARGEST} characters", "give a table", str(path))
        raise BlushError(title, [problem])
    try:
        reader = csv.reader(StringIO(text), dialect="excel-tab", strict=True)
        return [(reader.line_num, cells) for cells in reader if any(cells)]
    except csv.Error as error:
        raise BlushError(title, [Problem(f"is no table: {error}", _REMEDY, str(path))]) from None


def read_tsv(
    path: Path, title: str, missing: str, needed: Sequence[str], known: Collection[str] | None = None
) -> list[tuple[int, Row]]:
    """Rows by the names of their columns, each with the number of its line; what a row leaves out is empty.

    Parameters
    ----------
    needed
        Columns that have to be there.
    known
        Columns that may be there; None: any.

    Raises
    ------
    BlushError
        As `read_cells`; with every column that is lacking, not known, or there twice, and every row that is too long.
    """
    rows = read_cells(path, title, missing)
    names = rows[0][1] if rows else []
    lacking = [name for name in needed if name not in names]
    odd = sorted({name for name in names if known is not None and name not in known})
    twice = sorted({name for name in names if names.count(name) > 1})
    where = {"column is missing": lacking, "is not a known column": odd, "column is there twice": twice}
    remedies = ("add it, with tabs between the columns", f"known are {' '.join(known or ())}", "remove one")
    problems = [
        Problem(message, remedy, str(path), ascii(name[:_LONGEST_SHOWN])[1:-1])
        for (message, found), remedy in zip(where.items(), remedies, strict=True)
        for name in found
    ]
    problems += [
        Problem(f"row has {len(cells)} values for {len(names)} columns", _REMEDY, str(path), f"line {number}")
        for number, cells in rows[1:]
        if len(cells) > len(names)
    ][:_MOST_LISTED]
    if problems:
        raise BlushError(title, problems)
    empty = [""] * len(names)
    return [(number, dict(zip(names, cells + empty[len(cells) :], strict=True))) for number, cells in rows[1:]]


def read_numbers(
    path: Path, title: str, missing: str, needed: Sequence[str], others: Sequence[str]
) -> dict[str, np.ndarray]:
    """Columns of a table of numbers, float64 (n,) with n of 1 or more.

    Parameters
    ----------
    needed, others
        Names that must be there; values of the others may be nan or infinite.
    title, missing
        As of `read_cells`.

    Raises
    ------
    BlushError
        As `read_tsv`; or where it has no row, or values that are no numbers.
    """
    rows = read_tsv(path, title, missing, (*needed, *others))
    if not rows:
        raise BlushError(title, [Problem("has no rows", missing, str(path))])
    odd = [
        Problem("is no number", missing, str(path), f"line {number}, {name}", row[name][:_LONGEST_SHOWN])
        for number, row in rows
        for name in (*needed, *others)
        if finite(row[name]) is None and (name in needed or row[name] not in _NO_NUMBERS)
    ]
    if odd:
        raise BlushError(title, odd[:_MOST_LISTED])
    return {name: np.array([float(row[name]) for _, row in rows]) for name in (*needed, *others)}


def finite(text: str) -> float | None:
    """A decimal number that is finite; None for any other text: neither 1_2 nor nan is one."""
    if "_" in text or not text.isascii():
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
