"""The text of STAR blocks, as RELION 3.1 and later write and read it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

_NEEDS_QUOTES = re.compile(r"\s|^[_#$\"';]|^(?:data_|loop_|save_|global_|stop_)", re.IGNORECASE)
_CLOSING = {'"': re.compile(r'"\s'), "'": re.compile(r"'\s")}
_ROWS_AT_ONCE = 20_000


def format_block(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """Text of one block, `_ROWS_AT_ONCE` rows at a time.

    Raises
    ------
    ValueError
        Where columns differ in length, columns and scalars are mixed, or a text is none that STAR can hold.
    """
    head = f"# version 30001\n\ndata_{name}\n\n"
    if all(_is_scalar(value) for value in content.values()):
        yield head + "".join(f"_{key:<40} {_format_scalar(value)}\n" for key, value in content.items())
        return
    if any(_is_scalar(value) for value in content.values()):
        raise ValueError(f"block {name!r} mixes columns and scalars; make two blocks")
    lengths = {key: len(values) for key, values in content.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of block {name!r} differ in length: {lengths}")
    columns = [values if isinstance(values, np.ndarray) else np.array(values) for values in content.values()]
    yield f"{head}loop_\n" + "".join(f"_{key} #{number}\n" for number, key in enumerate(content, start=1))
    for start in range(0, len(columns[0]), _ROWS_AT_ONCE):
        parts = (_format_column(column[start : start + _ROWS_AT_ONCE]) for column in columns)
        yield "".join(f"{row}\n" for row in map(" ".join, zip(*parts, strict=True)))


def _is_scalar(value: Any) -> bool:
    """Tell a key-value pair from a column."""
    return isinstance(value, str | int | float | np.generic)


def _format_scalar(value: Any) -> str:
    """One value of a key-value block."""
    return _format_column(np.array([value]))[0]


def _format_column(array: np.ndarray) -> list[str]:
    """One column as text: numbers padded to RELION's width, text quoted where STAR needs it."""
    if array.dtype.kind == "b":
        return [str(int(value)) for value in array.tolist()]
    if array.dtype.kind in "iu":
        return [f"{value:12d}" for value in array.tolist()]
    if array.dtype.kind == "f":
        return _format_floats(array)
    return [_quote(str(value)) for value in array.tolist()]


def _format_floats(array: np.ndarray) -> list[str]:
    """Six decimals as RELION writes them where that keeps six digits, scientific notation elsewhere."""
    size = np.abs(array)
    is_plain = (size == 0) | ((size >= 0.1) & (size < 1e9))
    if is_plain.all():
        return [f"{value:12.6f}" for value in array.tolist()]
    pairs = zip(array.tolist(), is_plain.tolist(), strict=True)
    return [f"{value:12.6f}" if plain else f"{value:12.6e}" for value, plain in pairs]


def _quote(text: str) -> str:
    """Quote text that STAR would otherwise split or take for a keyword."""
    if text and "\0" not in text and not _NEEDS_QUOTES.search(text):
        return text
    if not set(text) & set("\n\r\0"):
        for quote, closing in _CLOSING.items():
            if not closing.search(text):  # a quote ends a value only where a blank follows
                return f"{quote}{text}{quote}"
    raise ValueError(f"STAR cannot hold a line break, NUL, or both quotes, each before a blank: {text!r}")
