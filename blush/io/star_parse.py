"""Parsing the text of a STAR file, line by line and `_ROWS_AT_ONCE` rows at a time."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from sys import intern
from typing import TypeAlias

import numpy as np

from blush.errors import BlushError, Problem

Table: TypeAlias = dict[str, np.ndarray]
"""Columns of one block, named with the `rln` prefix and no underscore: int64, float64 or object (text) arrays (n,)."""

_TOKEN = re.compile(r"""(?:"(.*?)"|'(.*?)')(?=\s|$)|(\S+)""")
_ROWS_AT_ONCE = 20_000
_NOT_STAR = ("is not a STAR file", "give a STAR file written by RELION")


def parse_blocks(path: Path) -> dict[str, Table]:
    """Read every block; a column with any text in it is text in all its rows."""
    mixed: set[tuple[str, str]] = set()
    while True:
        known = len(mixed)
        with path.open(encoding="utf-8", errors="surrogateescape") as stream:
            blocks = _Parser(path, enumerate(map(str.strip, stream), start=1), mixed).blocks()
        if len(mixed) == known:
            return blocks


@dataclass
class _Parser:
    """One pass over the lines of one file.

    Parameters
    ----------
    mixed
        Columns, as (block, name), to be read as text; those found to hold both numbers and text are added.
    """

    path: Path
    numbered: Iterator[tuple[int, str]]
    mixed: set[tuple[str, str]]
    pushed: list[tuple[int, str]] = field(default_factory=list)

    def refuse(self, message: str, remedy: str, number: int, line: str) -> BlushError:
        """Build the error of one line."""
        problem = Problem(message, remedy, str(self.path), f"line {number}", line[:60])
        return BlushError("cannot read a STAR file", [problem])

    def next_line(self) -> tuple[int, str] | None:
        """Number and text of the next line that is neither blank nor a comment; None at the end."""
        if self.pushed:
            return self.pushed.pop()
        return next((item for item in self.numbered if item[1] and not item[1].startswith("#")), None)

    def blocks(self) -> dict[str, Table]:
        """Read up to the end of the file."""
        blocks: dict[str, Table] = {}
        block: str | None = None
        while (item := self.next_line()) is not None:
            number, line = item
            if line.startswith("data_"):
                block = line[5:].split()[0] if line[5:] else ""
                blocks.setdefault(block, {})
            elif block is None:
                raise self.refuse(*_NOT_STAR, number, line)
            elif line.split()[0] == "loop_":
                blocks[block].update(self.loop(block))
            else:
                blocks[block].update(self.pair(block, number, line))
        return blocks

    def pair(self, block: str, number: int, line: str) -> Table:
        """Read a line `_name value`."""
        tokens = _tokens(line)
        if len(tokens) != 2 or not line.startswith("_"):
            raise self.refuse("is neither a row of a loop_ nor a _name with its value", "correct it", number, line)
        return {tokens[0][1:]: self.typed(block, tokens[0][1:], tokens[1:])}

    def loop(self, block: str) -> Table:
        """Read the names and rows that follow `loop_`."""
        names: list[str] = []
        while (item := self.next_line()) is not None and item[1].startswith("_"):
            names.append(item[1].split()[0][1:])
        if item is not None:
            self.pushed.append(item)
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
            if line.startswith(("data_", "loop_", "_")):
                self.pushed.append(item)
                break
            row = _tokens(line)
            if len(row) != n_columns:
                message = f"row has {len(row)} values for {n_columns} columns"
                raise self.refuse(message, "restore the file; it may have been cut short", number, line)
            rows.append(row)
            if len(rows) == _ROWS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows

    def typed(self, block: str, name: str, values: Sequence[str]) -> np.ndarray:
        """Column as int64, float64 or text."""
        # names are text whatever they look like: a micrograph may be called 7
        if not name.endswith("Name") and (block, name) not in self.mixed:
            for kind in (np.int64, np.float64):
                try:
                    return np.array(values, dtype=kind)
                except (ValueError, OverflowError):
                    continue
        text = np.empty(len(values), dtype=object)
        text[:] = [intern(value) for value in values]  # micrographs repeat in thousands of rows
        return text

    def joined(self, block: str, name: str, arrays: list[np.ndarray]) -> np.ndarray:
        """Batches of a column as one; where only some are text, it is noted to be read again as text."""
        kinds = {array.dtype.kind for array in arrays}
        if "O" in kinds and len(kinds) > 1:
            self.mixed.add((block, name))
        if not arrays:
            return np.array([], dtype=object)
        return np.concatenate(arrays)


def _tokens(line: str) -> list[str]:
    """Values of one line; quotes hold values with blanks together."""
    if '"' not in line and "'" not in line:
        return line.split()
    return [match[match.lastindex or 0] for match in _TOKEN.finditer(line)]
