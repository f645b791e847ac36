"""Taking numbers out of STAR columns, with every mistake of a column collected."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.star import Table

ROWS_LISTED = 3
"""Mistakes of one kind that are listed row by row; the rest share one line that names their rows."""

_LONGEST_SHOWN = 200


def n_rows(table: Table) -> int:
    """Rows of a table; 0 for one without columns."""
    return len(next(iter(table.values()))) if table else 0


def row_problems(
    rows: np.ndarray, values: np.ndarray | Sequence[str], message: str, remedy: str, file: Path | str, block: str
) -> list[Problem]:
    """One problem per row, up to `ROWS_LISTED`, and one for all rows beyond.

    Parameters
    ----------
    rows
        0-based rows that are wrong, ascending.
    values
        What each of these rows holds.
    """
    listed = [
        Problem(message, remedy, str(file), f"{block} row {row + 1}", shown(value))
        for row, value in zip(rows[:ROWS_LISTED].tolist(), values[:ROWS_LISTED], strict=True)
    ]
    if len(rows) > ROWS_LISTED:
        where = f"{block} {len(rows) - ROWS_LISTED} more rows: {row_ranges(rows[ROWS_LISTED:])}"
        listed.append(Problem(message, remedy, str(file), where))
    return listed


def shown(value: object) -> str:
    """A value as a message shows it: no longer than a line."""
    text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text)} characters)"


def row_ranges(rows: np.ndarray, most: int = 20) -> str:
    """Ascending 0-based rows as 1-based text, `3, 7-9`; spans beyond `most` are counted."""
    breaks = np.flatnonzero(np.diff(rows) > 1) + 1
    spans = [(int(part[0]) + 1, int(part[-1]) + 1) for part in np.split(rows, breaks)]
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in spans[:most])
    rest = sum(last - first + 1 for first, last in spans[most:])
    return f"{text} and {rest} more" if rest else text


def require(table: Table, names: Sequence[str], block: str, star: Path, problems: list[Problem]) -> None:
    """Append one problem per missing column."""
    problems += [
        Problem("column is missing", "add it", str(star), f"{block}, {name}") for name in names if name not in table
    ]


def numbers(
    table: Table, name: str, default: float | np.ndarray, block: str, star: Path, problems: list[Problem]
) -> np.ndarray:
    """Column as float64 (n,), or its default; rows that hold no finite number become NaN and a problem each."""
    if name not in table:
        return np.broadcast_to(np.asarray(default, dtype=np.float64), n_rows(table)).copy()
    column = table[name]
    values = column.astype(np.float64) if column.dtype.kind in "iuf" else _parsed(column)
    bad = np.flatnonzero(~np.isfinite(values))
    problems += row_problems(
        bad, column[bad], f"{name} is not a finite number", "correct the value or remove the row", star, block
    )
    return values


def _parsed(column: np.ndarray) -> np.ndarray:
    """Text column as numbers, NaN where it holds none."""
    return np.array([number(value) for value in column], dtype=np.float64)


def number(value: object) -> float:
    """One value as a number, NaN where it is none; 1_2 and digits of other scripts are none."""
    text = str(value)
    if "_" in text or not text.isascii():
        return float("nan")
    try:
        return float(text)
    except ValueError:
        return float("nan")
