"""Values of the STAR files of an external reconstruction, each checked as it is taken out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.columns import n_rows, numbers, shown
from blush.io.mrc import map_header
from blush.io.star import Table

GENERAL, SPECTRA = "external_reconstruct_general", "external_reconstruct_tau2"
_LARGEST_PX = 1 << 16
_LONGEST_NAME_BYTES, _LONGEST_PATH = 255, 4000
"""What Linux takes for one name, and nearly what it takes for a path."""
_AGAIN = "give back the file as RELION wrote it"


def number(table: Table, name: str, star: Path) -> float:
    """A number that is finite.

    Raises
    ------
    BlushError
        Where it is none.
    """
    value = float(numbers(table, name, 0.0, GENERAL, star, [])[0])
    if not np.isfinite(value):
        found = shown(table[name][0]).encode("ascii", "backslashreplace").decode()
        raise unusable([Problem(f"{name} is not a number", _AGAIN, str(star), f"data_{GENERAL}", found)])
    return value


def whole(table: Table, name: str, star: Path, problems: list[Problem]) -> int:
    """A count of pixels, or a factor of one; anything else is a problem."""
    value = number(table, name, star)
    if value.is_integer() and 1 <= value <= _LARGEST_PX:
        return int(value)
    remedy = "refine with --pad 2" if name == "rlnPaddingFactor" else _AGAIN
    message = f"{name} is not a whole number from 1 to {_LARGEST_PX}"
    problems.append(Problem(message, remedy, str(star), f"data_{GENERAL}", f"{value:g}"))
    return 0


def positive(table: Table, name: str, star: Path) -> float:
    """A number above 0.

    Raises
    ------
    BlushError
        Where it is none.
    """
    value = number(table, name, star)
    if value <= 0:
        raise unusable([Problem(f"{name} is not positive", _AGAIN, str(star), f"data_{GENERAL}", f"{value:g}")])
    return value


def optional(table: Table, name: str, star: Path) -> float | None:
    """A positive number, or None where the call does not give it."""
    return positive(table, name, star) if name in table else None


def spectrum(table: Table, label: str, star: Path, problems: list[Problem]) -> NDArray[np.float64]:
    """A column of numbers; shells without one are a problem."""
    values = numbers(table, label, 0.0, SPECTRA, star, [])
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        where = f"data_{SPECTRA}, {label}, shell {', '.join(map(str, bad[:5]))}"
        remedy = "look at the half-maps of the iteration before: a shell without power has no FSC"
        problems.append(Problem("holds no number", remedy, str(star), where, shown(table[label][bad[0]])))
    return values


def file_name(table: Table, label: str, star: Path) -> str:
    """A name that a file can have, with the ending that RELION gives it.

    Raises
    ------
    BlushError
        Where it is none.
    """
    name, ending = str(table[label][0]), ".star" if label.endswith("Starfile") else ".mrc"
    longest = max(len(part) for part in name.encode("utf-8", "surrogateescape").split(b"/"))
    if not name.endswith(ending) or longest > _LONGEST_NAME_BYTES or len(name) > _LONGEST_PATH:
        remedy = f"give a name that ends in {ending}, of at most {_LONGEST_NAME_BYTES} bytes"
        where = f"data_{GENERAL}, {label}"
        raise unusable(
            [
                Problem(
                    "is no name of such a file",
                    remedy,
                    str(star),
                    where,
                    shown(name).encode("ascii", "backslashreplace").decode(),
                )
            ]
        )
    return name


def check_single(table: Table, star: Path) -> None:
    """Refuse a general block that is a table of none or several rows.

    Raises
    ------
    BlushError
        Where it is.
    """
    if n_rows(table) != 1:
        message = f"data_{GENERAL} has {n_rows(table)} rows instead of one value each"
        raise unusable([Problem(message, _AGAIN, str(star))])


def check_size(path: Path, pad: int, box_px: int, star: Path) -> None:
    """Refuse an array of a call whose header has another size than the call says.

    Raises
    ------
    BlushError
        Where it has, or cannot be read; with the call that names it.
    """
    named, size = Problem("names that file", _AGAIN, str(star)), pad * box_px
    try:
        shape = map_header(path).shape
    except BlushError as error:
        raise unusable([*error.problems, named]) from None
    if shape != (size, size, size // 2 + 1):
        wanted = f"padding {pad} of box {box_px} asks for {size} x {size} x {size // 2 + 1}, z y x"
        found = " x ".join(map(str, shape))
        raise unusable([Problem("has another size than the call says", wanted, str(path), value=found), named])


def unusable(problems: Sequence[Problem | str]) -> BlushError:
    """The error of a call, with all that is wrong with it."""
    return BlushError("cannot take part in an external reconstruction", problems)
