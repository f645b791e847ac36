"""Parsing the text of a STAR file, line by line and `_ROWS_AT_ONCE` rows at a time."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from sys import intern
from typing import TypeAlias

import numpy as np

from blush.errors import BlushError, Problem

Table: TypeAlias = dict[str, np.ndarray]
"""Columns of one block, named with the `rln` prefix and no underscore: int64, float64 or object (text) arrays (n,)."""

_WORD = re.compile(r"\S+")
_CLOSING = {quote: re.compile(quote + r"(?=\s|$)") for quote in ("'", '"')}
_LONGEST_NUMBER = 64
"""Characters; more are no number of a particle table, and Python refuses integers of thousands of digits."""
_ROWS_AT_ONCE = 20_000
_JOINED = "give one table of each name; `relion_star_handler --combine` joins files"
_NOT_STAR = ("is not a STAR file", "give a STAR file written by RELION")


def parse_blocks(path: Path, are_numbers: Callable[[str], bool] = lambda name: True) -> dict[str, Table]:
    """Read every block; a column with any text in it is text in all its rows.

    Parameters
    ----------
    are_numbers
        Columns of which it says no stay the text that they are in the file.

    Raises
    ------
    BlushError
        With the line: no STAR file, a table, block or column that is there twice, a row of another length, NUL bytes.
    """
    mixed: set[tuple[str, str]] = set()
    while True:
        known = len(mixed)
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            blocks = _Parser(path, enumerate(map(str.strip, stream), start=1), mixed, are_numbers).blocks()
        if len(mixed) == known:
            return blocks


@dataclass
class _Parser:
    """One pass over the lines of one file.

    Parameters
    ----------
    mixed
        Columns, as (block, name), to be read as text; those found to hold both numbers and text are added.
    are_numbers
        Whether a column of this name may be turned into numbers.
    """

    path: Path
    numbered: Iterator[tuple[int, str]]
    mixed: set[tuple[str, str]]
    are_numbers: Callable[[str], bool]
    pushed: list[tuple[int, str]] = field(default_factory=list)
    last_row: int = -1

    def refuse(self, message: str, remedy: str, number: int, line: str) -> BlushError:
        """Build the error of one line."""
        problem = Problem(message, remedy, str(self.path), f"line {number}", line[:60])
        return BlushError("cannot read a STAR file", [problem])

    def next_line(self) -> tuple[int, str] | None:
        """Number and text of the next line that is neither blank nor a comment; None at the end."""
        if self.pushed:
            return self.pushed.pop()
        for number, line in self.numbered:
            if "\0" in line:
                raise self.refuse("holds NUL bytes", "restore the file; it is damaged", number, line.replace("\0", "?"))
            if line and not line.startswith("#"):
                return number, line
        return None

    def blocks(self) -> dict[str, Table]:
        """Read up to the end of the file."""
        blocks: dict[str, Table] = {}
        block: str | None = None
        looped = False
        while (item := self.next_line()) is not None:
            number, line = item
            if line.startswith("data_"):
                block = line[5:].split()[0] if line[5:] else ""
                if block in blocks:
                    raise self.refuse(f"data_{block} is there twice", _JOINED, number, line)
                self.refuse_cut_row(number, line)
                blocks[block] = {}
                looped = False
            elif block is None:
                raise self.refuse(*_NOT_STAR, number, line)
            elif line.split()[0] == "loop_":
                if blocks[block]:
                    raise self.refuse(f"data_{block} has a second table", _JOINED, number, line)
                blocks[block], looped = self.loop(block), True
            else:
                found = self.pair(block, number, line)
                if looped or found.keys() & blocks[block].keys():
                    raise self.refuse(f"data_{block} has a value beside its table, or twice", _JOINED, number, line)
                blocks[block].update(found)
        return blocks

    def refuse_cut_row(self, number: int, line: str) -> None:
        """Refuse a row that was cut short after data_2023/a.mrc, and so looks like a block without content."""
        if number != self.last_row + 1:
            return
        after = self.next_line()
        if after is None or not after[1].startswith(("loop_", "_")):
            remedy = "restore the file; or put a blank line before data_, and quotes around a value that begins so"
            raise self.refuse("is a row that was cut short, or a block without content", remedy, number, line)
        self.pushed.append(after)

    def pair(self, block: str, number: int, line: str) -> Table:
        """Read a line `_name value`."""
        tokens = _tokens(line)
        if len(tokens) != 2 or not line.startswith("_"):
            raise self.refuse("is neither a row of a loop_ nor a _name with its value", "correct it", number, line)
        return {tokens[0][1:]: self.typed(block, tokens[0][1:], tokens[1:])}

    def loop(self, block: str) -> Table:
        """Read the names and rows that follow `loop_`."""
        names: list[str] = []
        while (item := self.next_line()) is not None and self.is_name(item[1], len(names)):
            number, line = item
            name = line.split()[0][1:]
            if name in names:
                raise self.refuse(f"column {name} is there twice in data_{block}", "remove one of them", number, line)
            names.append(name)
        if item is not None:
            self.pushed.append(item)
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for rows in self.batches(len(names)):
            for name, values in zip(names, zip(*rows, strict=True), strict=True):
                parts[name].append(self.typed(block, name, values))
        return {name: self.joined(block, name, arrays) for name, arrays in parts.items()}

    @staticmethod
    def is_name(line: str, n_before: int) -> bool:
        """Tell the name of a column, `_name` or `_name #7`, from a first row whose first value begins so."""
        if not line.startswith("_"):
            return False
        words = line.split(maxsplit=2)
        return n_before == 0 or len(words) == 1 or words[1].startswith("#")

    def batches(self, n_columns: int) -> Iterator[list[list[str]]]:
        """Rows of one loop, each of the right length."""
        rows: list[list[str]] = []
        while (item := self.next_line()) is not None:
            number, line = item
            row = _tokens(line)
            # a path in a folder called data_2023 is a value: only a word on its own can be the next block's name
            is_keyword = line.startswith(("data_", "loop_")) and len(row) == 1
            if is_keyword or (line.startswith("_") and len(row) != n_columns):
                self.pushed.append(item)
                break
            if len(row) != n_columns:
                message = f"row has {len(row)} values for {n_columns} columns"
                raise self.refuse(message, "restore the file; it may have been cut short", number, line)
            rows.append(row)
            self.last_row = number
            if len(rows) == _ROWS_AT_ONCE:
                yield rows
                rows = []
        if rows:
            yield rows

    def typed(self, block: str, name: str, values: Sequence[str]) -> np.ndarray:
        """Column as int64, float64 or text."""
        # names are text whatever they look like: a micrograph may be called 7
        is_text = name.endswith("Name") or not self.are_numbers(name) or (block, name) in self.mixed
        if not is_text and (column := _as_numbers(values)) is not None:
            return column
        text = np.empty(len(values), dtype=object)
        repeated = 2 * len(set(values)) < len(values)  # micrographs repeat in thousands of rows
        text[:] = [intern(value) for value in values] if repeated else values
        return text

    def joined(self, block: str, name: str, arrays: list[np.ndarray]) -> np.ndarray:
        """Batches of a column as one; where only some are text, it is noted to be read again as text."""
        kinds = {array.dtype.kind for array in arrays}
        if "O" in kinds and len(kinds) > 1:
            self.mixed.add((block, name))
        if not arrays:
            return np.array([], dtype=object)
        return np.concatenate(arrays)


def _as_numbers(values: Sequence[str]) -> np.ndarray | None:
    """Values as int64 or float64; None where that would lose a digit of an integer, or where they are text."""
    joined = "".join(values)
    # Python takes 1_2 for 12, and digits of other scripts; neither is a number in a STAR file
    if "_" in joined or not joined.isascii() or max(map(len, values), default=0) > _LONGEST_NUMBER:
        return None
    try:
        integers = np.array(values, dtype=np.int64)
    except OverflowError:
        return None
    except ValueError:
        try:
            return np.array(values, dtype=np.float64)
        except ValueError:
            return None
    return integers if list(map(str, integers.tolist())) == list(values) else None


def _tokens(line: str) -> list[str]:
    """Values of one line in one pass; quotes hold values with blanks together, a word that begins with # ends it."""
    if '"' not in line and "'" not in line:
        words = line.split()
        return words if "#" not in line else list(takewhile(lambda word: not word.startswith("#"), words))
    tokens: list[str] = []
    unclosed: set[str] = set()  # quotes that nothing closes from here on: looked for once, not at every word
    place = 0
    while (word := _WORD.search(line, place)) is not None and not word[0].startswith("#"):
        start, place, text = word.start(), word.end(), word[0]
        if text[0] in _CLOSING and text[0] not in unclosed:
            if (closing := _CLOSING[text[0]].search(line, start + 1)) is not None:
                text, place = line[start + 1 : closing.start()], closing.end()
            else:
                unclosed.add(text[0])
        tokens.append(text)
    return tokens
