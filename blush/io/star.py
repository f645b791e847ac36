"""STAR files: a mapping of blocks, each a mapping of columns; unknown columns and the order of everything are kept."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.files import atomic_write

Table: TypeAlias = dict[str, np.ndarray]
"""Columns of one block, named with the `rln` prefix and no underscore: int64, float64 or object (text) arrays (n,)."""

Scalar: TypeAlias = str | int | float | bool

_NEEDS_QUOTES = re.compile(r"\s|^[_#$\"';]|^(?:data_|loop_|save_|global_|stop_)", re.IGNORECASE)


def read_star(path: Path | str) -> dict[str, Table]:
    """Read every block of a STAR file.

    Returns
    -------
    Columns by block name (without `data_`). A column whose every value is an integer is int64, a number float64,
    anything else text. A block of key-value pairs is a table of one row.

    Raises
    ------
    BlushError
        Where the file is missing or is not STAR.
    """
    import starfile  # pandas takes longer to import than every other command needs to start

    path = Path(path)
    if not path.is_file():
        raise _refuse(path, "file does not exist", "correct the path")
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=_text_columns(path))
    except Exception as error:
        raise _refuse(path, f"is not a readable STAR file: {error}", "check how it was written") from error
    if not blocks:
        raise _refuse(path, "holds no data block", "give a STAR file written by RELION")
    return {name: _columns(block) for name, block in blocks.items()}


def _refuse(path: Path, message: str, remedy: str) -> BlushError:
    """Build the error of an unreadable table."""
    return BlushError("cannot read a STAR file", [Problem(message, remedy, file=str(path))])


def _text_columns(path: Path) -> list[str]:
    """Names of columns that hold names, whatever they look like (a micrograph may be called 7)."""
    with path.open(encoding="utf-8", errors="replace") as stream:
        header = (line for line in stream if line.startswith("_"))
        names = {line.split()[0].lstrip("_") for line in header}
    return sorted(name for name in names if name.endswith("Name"))


def _columns(block: Any) -> Table:
    """Turn a data frame, or a mapping of scalars, into columns."""
    if isinstance(block, Mapping):
        return {name: _column(np.array([value], dtype=object)) for name, value in block.items()}
    return {str(name): _column(block[name].to_numpy()) for name in block.columns}


def _column(values: np.ndarray) -> np.ndarray:
    """One column as int64, float64 or text."""
    if values.dtype.kind in "iub":
        return values.astype(np.int64)
    if values.dtype.kind == "f":
        return values.astype(np.float64)
    if all(isinstance(value, (int, np.integer)) for value in values):
        return values.astype(np.int64)
    if all(isinstance(value, (int, float, np.number)) for value in values):
        return values.astype(np.float64)
    return np.array([str(value) for value in values], dtype=object)


def write_star(
    path: Path | str,
    blocks: Mapping[str, Mapping[str, Any]],
    comment: str | None = None,
) -> None:
    """Write blocks as RELION 3.1+ reads them; equal content gives equal bytes.

    Parameters
    ----------
    blocks
        By name (without `data_`): arrays or lists of equal length make a `loop_`, scalars make key-value pairs.
    comment
        One line put at the top.

    Raises
    ------
    ValueError
        Where columns of a block differ in length, or a table mixes columns and scalars.
    """
    parts = [f"# {comment}\n"] if comment else []
    parts += [_format_block(name, content) for name, content in blocks.items()]
    with atomic_write(path) as beside:
        beside.write_text("\n".join(parts), encoding="utf-8")


def _format_block(name: str, content: Mapping[str, Any]) -> str:
    """Text of one block."""
    head = f"# version 30001\n\ndata_{name}\n\n"
    if all(_is_scalar(value) for value in content.values()):
        return head + "".join(f"_{key:<40} {_format_scalar(value)}\n" for key, value in content.items())
    if any(_is_scalar(value) for value in content.values()):
        raise ValueError(f"block {name!r} mixes columns and scalars; make two blocks")
    lengths = {key: len(values) for key, values in content.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of block {name!r} differ in length: {lengths}")
    names = "".join(f"_{key} #{number}\n" for number, key in enumerate(content, start=1))
    rows = map(" ".join, zip(*(_format_column(values) for values in content.values()), strict=True))
    return f"{head}loop_\n{names}" + "\n".join(rows) + "\n"


def _is_scalar(value: Any) -> bool:
    """Tell a key-value pair from a column."""
    return isinstance(value, str | int | float | np.generic)


def _format_scalar(value: Any) -> str:
    """One value of a key-value block."""
    return _format_column(np.array([value]))[0]


def _format_column(values: Any) -> list[str]:
    """One column as text: numbers padded to RELION's width, text quoted where STAR needs it."""
    array = values if isinstance(values, np.ndarray) else np.array(values)
    if array.dtype.kind == "b":
        return [str(int(value)) for value in array.tolist()]
    if array.dtype.kind in "iu":
        return [f"{value:12d}" for value in array.tolist()]
    if array.dtype.kind == "f":
        return [_format_float(value) for value in array.tolist()]
    return [_quote(str(value)) for value in array.tolist()]


def _format_float(value: float) -> str:
    """Six decimals as RELION writes them where that keeps six digits, scientific notation elsewhere."""
    if value == 0 or 1e-1 <= abs(value) < 1e9:
        return f"{value:12.6f}"
    return f"{value:12.6e}"


def _quote(text: str) -> str:
    """Quote text that STAR would otherwise split or take for a keyword."""
    if text and not _NEEDS_QUOTES.search(text):
        return text
    quote = '"' if '"' not in text else "'"
    return f"{quote}{text}{quote}"
