"""Parsing the text of a STAR file, line by line and `_ROWS_AT_ONCE` rows at a time."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import TypeAlias

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.star_words import words

Table: TypeAlias = dict[str, np.ndarray]
"""Columns of one block, named with the `rln` prefix and no underscore: int64, float64 or object (text) arrays (n,)."""

_ROWS_AT_ONCE = 20_000
_NOT_STAR = ("is not a STAR file", "give a STAR file written by RELION")
_CUT_SHORT = "restore the file; it may have been cut short"
_LONGEST_SHOWN = 60


def parse_blocks(path: Path, numeric: Collection[str] | None) -> dict[str, Table]:
    """Read every block; a column with any text in it is text in all its rows.

    Parameters
    ----------
    numeric
        Columns that may be real numbers; the others keep their text. All may be where it is None.
    """
    as_text: set[tuple[str, str]] = set()
    while True:
        known = len(as_text)
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            blocks = _Parser(path, enumerate(map(str.strip, stream), start=1), numeric, as_text).blocks()
        if len(as_text) == known:
            return blocks


@dataclass
class _Parser:
    """One pass over the lines of one file.

    Parameters
    ----------
    as_text
        Columns, as (block, name), to be read as text; those found to hold both numbers and text are added.
    """

    path: Path
    numbered: Iterator[tuple[int, str]]
    numeric: Collection[str] | None
    as_text: set[tuple[str, str]]
    pushed: list[tuple[int, str]] = field(default_factory=list)
    row_number: int = -1

    def refuse(self, message: str, remedy: str, number: int, line: str) -> BlushError:
        """Build the error of one line."""
        problem = Problem(message, remedy, str(self.path), f"line {number}", line[:_LONGEST_SHOWN])
        return BlushError("cannot read a STAR file", [problem])

    def next_line(self) -> tuple[int, str] | None:
        """Number and text of the next line that is neither blank nor a comment; None at the end."""
        if self.pushed:
            return self.pushed.pop()
        item = next((item for item in self.numbered if item[1] and not item[1].startswith("#")), None)
        if item is not None and "\0" in item[1]:
            raise self.refuse("holds a NUL byte, so it is no text", "restore the file", item[0], item[1])
        return item

    def blocks(self) -> dict[str, Table]:
        """Read up to the end of the file."""
        blocks: dict[str, Table] = {}
        starts: dict[str, tuple[int, str]] = {}
        block: str | None = None
        while (item := self.next_line()) is not None:
            number, line = item
            if line.startswith("data_"):
                block = self.named(number, line, starts)
                blocks[block] = {}
            elif block is None:
                raise self.refuse(*_NOT_STAR, number, line)
            elif line.split(None, 1)[0] == "loop_":
                if blocks[block]:
                    message = f"data_{block} holds something else before this loop_"
                    raise self.refuse(message, "give each table a data_ block of its own", number, line)
                blocks[block] = self.loop(block)
            else:
                self.pair(block, blocks[block], number, line)
        return blocks

    def named(self, number: int, line: str, starts: dict[str, tuple[int, str]]) -> str:
        """Name of the block that starts here; two of one name are refused, since their rows would be mixed."""
        found, count = words(line)
        if count > 1:
            raise self.refuse("data_ is followed by more than a name", _CUT_SHORT, number, line)
        block = found[0][5:]
        if block in starts:
            message = f"data_{block} is there twice, first in line {starts[block][0]}"
            raise self.refuse(message, "join the rows below one data_ and loop_, or remove one", number, line)
        starts[block] = (number, line)
        if number == self.row_number + 1:
            self.reject_value(number, line)
        return block

    def reject_value(self, number: int, line: str) -> None:
        """A row that was cut short after a value like data_2023/a.mrc is no empty block."""
        after = self.next_line()
        if after is None or not after[1].startswith(("loop_", "_")):
            remedy = f"put such a value in quotes, or {_CUT_SHORT}"
            raise self.refuse("is a block without content, or a row cut short", remedy, number, line)
        self.pushed.append(after)

    def pair(self, block: str, table: Table, number: int, line: str) -> None:
        """Read a line `_name value` into the table."""
        found, count = words(line)
        found = found[: max(count, 2)]
        if len(found) != 2 or not line.startswith("_"):
            raise self.refuse("is neither a row of a loop_ nor a _name with its value", "correct it", number, line)
        name = found[0][1:]
        if name in table:
            remedy = "remove one of the two, or give each table a data_ block of its own"
            raise self.refuse(f"_{name} is there twice in data_{block}", remedy, number, line)
        table[name] = self.typed(block, name, found[1:])

    def loop(self, block: str) -> Table:
        """Read the names and rows that follow `loop_`."""
        names: dict[str, int] = {}
        while (item := self.next_line()) is not None:
            number, line = item
            found, count = words(line)
            if not line.startswith("_") or count > 1:
                self.pushed.append(item)
                break
            name = found[0][1:]
            if name in names:
                message = f"column _{name} is there twice in data_{block}, first in line {names[name]}"
                raise self.refuse(message, "remove one of the two columns", number, line)
            names[name] = number
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for rows in self.batches(len(names)):
            for name, values in zip(names, zip(*rows, strict=True), strict=True):
                parts[name].append(self.typed(block, name, values))
        return {name: self.joined(block, name, arrays) for name, arrays in parts.items()}

    def batches(self, n_columns: int) -> Iterator[list[list[str]]]:
        """Rows of one loop, each of the right length."""
        rows: list[list[str]] = []
        while (item := self.next_line()) is not None:
            number, line = item
            row, count = words(line)
            if len(row) != n_columns:
                row = row[:count]
            if len(row) == 1 and line.startswith(("data_", "loop_")):
                self.pushed.append(item)
                break
            if len(row) != n_columns:
                message = f"row has {len(row)} values for {n_columns} columns"
                raise self.refuse(message, _CUT_SHORT, number, line)
            rows.append(row)
            self.row_number = number
            if len(rows) == _ROWS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows

    def typed(self, block: str, name: str, values: Sequence[str]) -> np.ndarray:
        """Column as int64, float64 or text."""
        # names are text whatever they look like: a micrograph may be called 7
        if not name.endswith("Name") and (block, name) not in self.as_text:
            array = _numbers(values, self.numeric is None or name in self.numeric)
            if array is not None:
                return array
        text = np.empty(len(values), dtype=object)
        repeated = 2 * len(set(values)) < len(values)  # micrographs repeat in thousands of rows
        text[:] = [intern(value) for value in values] if repeated else values
        return text

    def joined(self, block: str, name: str, arrays: list[np.ndarray]) -> np.ndarray:
        """Batches of a column as one; where only some are text, it is noted to be read again as text."""
        kinds = {array.dtype.kind for array in arrays}
        if "O" in kinds and len(kinds) > 1:
            self.as_text.add((block, name))
        if not arrays:
            return np.array([], dtype=object)
        return np.concatenate(arrays)


def _numbers(values: Sequence[str], may_be_real: bool) -> np.ndarray | None:
    """Values as int64 where each is the text of its integer, else as float64; None where they are text.

    Python takes 1_2 and digits of every script for numbers, STAR does not.
    """
    try:
        integers = list(map(int, values))
    except ValueError:
        integers = []
    if integers:
        if list(map(str, integers)) != list(values):
            return None  # 007, +1, 1_2: identifiers
        try:
            return np.array(integers, dtype=np.int64)
        except OverflowError:
            return None
    if not may_be_real:
        return None
    try:
        reals = np.array(list(map(float, values)), dtype=np.float64)
    except ValueError:
        return None
    together = "".join(values)
    return reals if together.isascii() and "_" not in together else None
