"""The text of STAR blocks, as RELION 3.1 and later write and read it."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_NEEDS_QUOTES = re.compile(r"\s|^[_#$\"';]|^(?:data_|loop_|save_|global_|stop_)", re.IGNORECASE)


def format_block(name: str, content: Mapping[str, Any]) -> str:
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
    if text and not _NEEDS_QUOTES.search(text):
        return text
    quote = '"' if '"' not in text else "'"
    return f"{quote}{text}{quote}"
