"""The subsets of the images that estimate references of their own: number, and name in files and on command lines."""

from __future__ import annotations

from enum import IntEnum


class Subset(IntEnum):
    """A subset by its number: half-sets as `rlnRandomSubset` has them, 1 or 2; 0 is all images in one.

    Arrays with one entry per subset are in the order of the run's own subsets, which its plan knows; a subset's number
    is no index.
    """

    ALL = 0
    FIRST = 1
    SECOND = 2

    @classmethod
    def named(cls, infix: str) -> Subset:
        """The subset of a name in files.

        Raises
        ------
        ValueError
            There is none of this name.
        """
        for subset in cls:
            if subset.infix == infix:
                return subset
        raise ValueError(f"{infix!r} is none of {', '.join(subset.infix for subset in cls)}")

    @property
    def infix(self) -> str:
        """What marks its files: `half1`, `half2` or `all`."""
        return f"half{self.value}" if self in HALVES else "all"

    @property
    def other(self) -> Subset:
        """The half-set that it must not see.

        Raises
        ------
        ValueError
            It is no half-set.
        """
        if self not in HALVES:
            raise ValueError("all images have no other half")
        return Subset.SECOND if self is Subset.FIRST else Subset.FIRST


HALVES = (Subset.FIRST, Subset.SECOND)
"""The two half-sets of a run that refines them apart from each other."""
