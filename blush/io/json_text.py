"""The one reader of JSON; only the standard library, so that the thin side of a pool has it too."""

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from blush.errors import BlushError, Problem

SEAL_KEY = "~seal"
"""Member of a JSON object that holds the seal of its file (`blush.io.seal`); it sorts last and is no content."""
REMAKE = "restore the file, or remove it and run the command that wrote it again"
LARGEST_JSON_BYTES = 1 << 25
_MOST_CONTAINERS = 1_000_000
"""Lists and objects of one document: each takes a hundred bytes of memory, and three of the file."""
_MOST_DIGITS = 18
"""Of a whole number: int64 holds every one of as many."""
_HALF_PAIR = re.compile(r"\\u[dD][89a-fA-F]")


def parse_json(text: bytes | str) -> Any:
    """One JSON document.

    Raises
    ------
    ValueError
        Where it is none: of another grammar, no UTF-8, nested beyond what can be read, with NaN, Infinity or a number
        beyond what can be held in it, with a name twice in one object, or larger than any that is written here.
    """
    if len(text) > LARGEST_JSON_BYTES:
        raise ValueError(f"its {len(text)} bytes are more than the {LARGEST_JSON_BYTES} of any such file")
    decoded = text.decode("utf-8") if isinstance(text, bytes) else text
    if (found := decoded.count("[") + decoded.count("{")) > _MOST_CONTAINERS:
        raise ValueError(f"its {found} lists and objects are more than {_MOST_CONTAINERS}")
    try:
        content = json.loads(
            decoded, parse_constant=_no_number, parse_int=_integer, parse_float=_real, object_pairs_hook=_object
        )
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    if _HALF_PAIR.search(decoded):
        _refuse_half_pairs(content)
    return content


def read_json(path: Path | str, remedy: str = REMAKE) -> Any:
    """Read one JSON document, without the seal that it may bear.

    Parameters
    ----------
    remedy
        What to do about a file that cannot be read.

    Raises
    ------
    BlushError
        Where it cannot be read, as by `parse_json`.
    """
    try:
        with Path(path).open("rb") as stream:
            content = parse_json(stream.read(LARGEST_JSON_BYTES + 1))
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        problem = Problem(f"cannot be read as JSON: {str(reason)[:200]}", remedy, str(path))
        raise BlushError("cannot read a file", [problem]) from None
    if isinstance(content, dict):
        content.pop(SEAL_KEY, None)
    return content


def read_record(path: Path | str, remedy: str = REMAKE, members: Collection[str] = ()) -> dict[str, Any]:
    """Read one JSON object, without the seal that it may bear.

    Parameters
    ----------
    members
        Names that have to be in it.

    Raises
    ------
    BlushError
        Where it cannot be read, is no object, or lacks a member.
    """
    content = read_json(path, remedy)
    if not isinstance(content, dict):
        problem = Problem("is not a JSON object", remedy, str(path), value=type(content).__name__)
        raise BlushError("cannot read a file", [problem])
    if lacking := [name for name in members if name not in content]:
        raise BlushError("cannot read a file", [Problem(f"lacks {', '.join(lacking)}", remedy, str(path))])
    return content


def _no_number(name: str) -> float:
    raise ValueError(f"holds {name}, which is no JSON")


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"its number {text[:20]}... has {len(text)} digits")
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"its number {text[:40]} is beyond what can be held")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"its name {twice[:60]!r} is there twice in one object")
    return content


def _refuse_half_pairs(content: Any) -> None:
    """Refuse text with half of a surrogate pair, which no file can hold as UTF-8."""
    try:
        json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise ValueError("its text holds half of a character (a lone surrogate)") from None
