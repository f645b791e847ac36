"""Frozen records to JSON and back, to the last bit: every member is of the type, every array of the axes, it declares.

A member is a number, a text, another record, or an array or a tuple whose annotation names its axes:

    noise: Annotated[Floats, Axes("subsets", "optics groups", "shells")]
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator
from functools import cache
from types import NoneType
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_SHOWN = 40
_PLAIN: dict[type, tuple[type, ...]] = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}

Record = TypeVar("Record")


class Axes:
    """Names of an array's axes; axes of one name have one length wherever they are in a record."""

    def __init__(self, *names: str) -> None:
        self.names = names


def freeze_arrays(record: Any) -> None:
    """Give a record, in its making, read-only float64 copies of its arrays.

    Raises
    ------
    ValueError
        An array has another number of axes than it declares.
    """
    for name, axes in _axes(_kind(record)).items():
        value = getattr(record, name)
        if not isinstance(value, tuple):
            value = np.array(value, dtype=np.float64)
            value.setflags(write=False)
            object.__setattr__(record, name, value)
        if np.ndim(value) != len(axes.names):
            raise ValueError(f"{name} has shape {np.shape(value)}, but its axes are {', '.join(axes.names)}")


def axis_lengths(record: Any) -> Iterator[tuple[str, str, int]]:
    """Name of a member, name of an axis and its length, for every axis of a record's own arrays."""
    for name, axes in _axes(_kind(record)).items():
        yield from ((name, axis, n) for axis, n in zip(axes.names, np.shape(getattr(record, name)), strict=True))


def as_json(record: Any) -> dict[str, Any]:
    """Plain lists, numbers and texts of a record, nested as it is."""
    return {field.name: _plain(getattr(record, field.name)) for field in dataclasses.fields(record)}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return as_json(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def from_json(kind: type[Record], values: Any, where: str = "", **instead: type) -> Record:
    """Make the record that `as_json` gave.

    Parameters
    ----------
    where
        Name of the record in those that hold it, for messages.
    instead
        By the name of a member, the record it is where the annotation leaves that open.

    Raises
    ------
    ValueError
        A member is missing, unknown or of another type, or the record refuses it.
    """
    if not isinstance(values, dict):
        raise ValueError(f"{where or 'it'} is no JSON object")
    hints = _hints(cast(Hashable, kind)) | instead
    prefix = f"{where}." if where else ""
    for name in sorted(hints.keys() ^ values.keys()):
        raise ValueError(f"{prefix}{name} is missing" if name in hints else f"{prefix}{name} is unknown")
    return kind(**{name: _decoded(hint, values[name], prefix + name) for name, hint in hints.items()})


def _decoded(hint: Any, value: Any, name: str) -> Any:
    """A value of the type that an annotation asks for."""
    if get_origin(hint) is Annotated:
        inner = get_args(hint)[0]
        return _numbers(value, name) if get_origin(inner) is np.ndarray else _decoded(inner, value, name)
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_decoded(get_args(hint)[0], one, name) for one in value)
    if NoneType in get_args(hint):
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
        if value is None:
            return None
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return from_json(hint, value, name)
    allowed = _PLAIN.get(hint, ())
    if type(value) not in allowed:
        raise ValueError(f"{name} is {str(value)[:_SHOWN]!r}, not {getattr(hint, '__name__', hint)}")
    return float(value) if hint is float else value


def _numbers(value: Any, name: str) -> Floats:
    if not isinstance(value, list) or (array := np.array(value)).dtype.kind not in "iuf":
        raise ValueError(f"{name} holds something else than numbers")
    return array.astype(np.float64)


def _kind(record: Any) -> Hashable:
    return cast(Hashable, type(record))


@cache
def _hints(kind: Any) -> dict[str, Any]:
    """Annotation of each member of a record."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cast(Any, kind))}


@cache
def _axes(kind: Any) -> dict[str, Axes]:
    """Axes of each member of a record that declares some."""
    found = {name: [one for one in getattr(hint, "__metadata__", ()) if isinstance(one, Axes)]
             for name, hint in _hints(kind).items()}  # fmt: skip
    return {name: axes[0] for name, axes in found.items() if axes}
