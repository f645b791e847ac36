"""The half-sets of a refinement: number, position in arrays and name in files."""

from __future__ import annotations

from enum import IntEnum


class Subset(IntEnum):
    """A half-set by its number, as `rlnRandomSubset` and file names have it: 1 or 2."""

    FIRST = 1
    SECOND = 2

    @property
    def index(self) -> int:
        """Position in arrays and tuples with one entry per half-set: 0 or 1."""
        return self.value - 1

    @property
    def infix(self) -> str:
        """What marks its files: `half1` or `half2`."""
        return f"half{self.value}"

    @property
    def other(self) -> Subset:
        """The half-set that it must not see."""
        return Subset.SECOND if self is Subset.FIRST else Subset.FIRST
