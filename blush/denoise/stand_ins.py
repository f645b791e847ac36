"""What stands in a pickle for tensors and arrays while it is read; a pickle can change none of them.

Pickles may call `__setstate__` of whatever they have built. A tensor of torch would then point its numbers anywhere,
a NumPy type would take flags; these refuse.
"""

from __future__ import annotations

import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

_DTYPE = re.compile(r"[<>=|]?[fiub][1248]|bool")
_MOST_AXES = 8


class Forbidden(pickle.UnpicklingError):
    """A pickle names what it may not use."""


def is_count(number: object) -> bool:
    """Whether a value is a whole number, 0 or more, and no truth value."""
    return isinstance(number, int) and not isinstance(number, bool) and number >= 0


class _Fixed:
    """An object that a pickle cannot change."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise Forbidden(f"a change of {type(self).__name__}")


class StandInDictionary(dict[Any, Any]):
    """An ordered dictionary; what torch notes beside a state of a network is not needed."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        """Forget it."""


class StandInKind(_Fixed):
    """A type of numbers."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype


class StandInStorage(_Fixed):
    """Numbers of one type.

    Parameters
    ----------
    count
        How many there are.
    """

    __slots__ = ("count", "dtype", "numbers")

    def __init__(self, dtype: torch.dtype, count: int) -> None:
        self.dtype, self.count = dtype, count
        self.numbers: Tensor | None = None

    def fill(self, content: bytes) -> None:
        """Give it its numbers, in the byte order of this machine.

        Raises
        ------
        ValueError
            Where they are too few.
        """
        if len(content) != self.count * self.dtype.itemsize:
            raise ValueError("it ends before its numbers do")
        raw = np.frombuffer(content, np.uint8).copy()
        self.numbers = torch.from_numpy(raw).view(self.dtype) if self.count else torch.empty(0, dtype=self.dtype)


class StandInTensor(_Fixed):
    """A tensor within a storage, which need not be filled yet.

    Raises
    ------
    ValueError
        Where it reaches beyond its storage, or is larger.
    """

    __slots__ = ("offset", "size", "storage", "stride")

    def __init__(self, storage: StandInStorage, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> None:
        if not all(is_count(number) for number in (offset, *size, *stride)):
            raise ValueError("the sizes of a tensor make no sense")
        if len(size) != len(stride) or len(size) > _MOST_AXES:
            raise ValueError("a tensor has other axes than steps, or too many")
        last = offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
        count: int = np.prod(size, dtype=object) if size else 1  # of any size, without overflow
        if count > storage.count or (count and last >= storage.count):
            raise ValueError("a tensor reaches beyond its numbers")
        self.storage, self.offset = storage, offset
        self.size, self.stride = tuple(size), tuple(stride)

    def made(self) -> Tensor:
        """A tensor of its own.

        Raises
        ------
        ValueError
            Where its numbers never came.
        """
        if self.storage.numbers is None:
            raise ValueError("a tensor has no numbers")
        if not math.prod(self.size):
            return torch.empty(self.size, dtype=self.storage.dtype)
        return self.storage.numbers.as_strided(self.size, self.stride, self.offset).clone(
            memory_format=torch.contiguous_format
        )


class StandInDtype(_Fixed):
    """A type of NumPy's numbers.

    Raises
    ------
    Forbidden
        Where it is another type, as that of Python objects.
    """

    __slots__ = ("numpy",)

    def __init__(self, code: object) -> None:
        if not isinstance(code, str) or not _DTYPE.fullmatch(code):
            raise Forbidden(f"an array of type {code[:40] if isinstance(code, str) else type(code).__name__}")
        self.numpy = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        """Take the byte order, which is the second of eight values, and the only one that numbers need."""
        if state[1] not in ("<", ">", "|", "="):
            raise Forbidden("a type in no byte order")
        self.numpy = self.numpy.newbyteorder(state[1])


class StandInArray(_Fixed):
    """An array of numbers.

    Parameters
    ----------
    charge
        Is told its bytes.
    """

    __slots__ = ("_array", "_charge")

    def __init__(self, charge: Callable[[int], None]) -> None:
        self._charge = charge
        self._array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        """Take version, shape, type, order and bytes, once."""
        _, shape, dtype, is_fortran, content = state
        if self._array is not None or not isinstance(dtype, StandInDtype):
            raise Forbidden("a change of an array")
        if not isinstance(content, bytes | bytearray):
            raise Forbidden(f"an array made of {type(content).__name__}")
        if not all(is_count(side) for side in shape) or len(shape) > _MOST_AXES:
            raise ValueError("the sizes of an array make no sense")
        if math.prod(shape) * dtype.numpy.itemsize != len(content):
            raise ValueError("an array has another size than its numbers")
        self._charge(len(content))
        flat = np.frombuffer(bytes(content), dtype.numpy)
        self._array = flat.reshape(shape) if not is_fortran else flat.reshape(tuple(shape)[::-1]).T

    def made(self) -> np.ndarray:
        """The array.

        Raises
        ------
        ValueError
            Where its numbers never came.
        """
        if self._array is None:
            raise ValueError("an array has no numbers")
        return self._array
