"""The one exception for mistakes of the user, carrying all of them at once."""

import errno
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

_LISTED = 3
"""Mistakes of one kind that are listed one by one."""
_PLACES = re.compile(r"\d[\d, -]*")
SYSTEM_REFUSALS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ESTALE}
)
"""What a disk or its rights refuse: the user can mend it, and no program can be at fault."""


@dataclass(frozen=True)
class Problem:
    """One mistake: where it is, what was found there, and what to do about it.

    Parameters
    ----------
    message
        What is wrong, in one clause.
    remedy
        What the user can do about it; empty where the message already says so.
    file
        File that holds the mistake.
    where
        Row, column or key inside that file.
    value
        The offending value, as text.
    """

    message: str
    remedy: str = ""
    file: str | None = None
    where: str | None = None
    value: str | None = None

    def __str__(self) -> str:
        place = ", ".join(part for part in (self.file, self.where) if part)
        value = f" (found {self.value})" if self.value is not None else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}: {self.message}{value}{remedy}" if place else f"{self.message}{value}{remedy}"


class BlushError(Exception):
    """Mistakes of the user; the command line prints them and exits with status 2, without a traceback.

    Parameters
    ----------
    title
        One line that says what could not be done.
    problems
        Every mistake found, not only the first.
    """

    def __init__(self, title: str, problems: Sequence[Problem | str] = ()) -> None:
        self.title = title
        self.problems = tuple(problems)
        super().__init__(title, self.problems)

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {line}" for line in condensed(self.problems))])


def problems_of(error: BlushError, where: str | None = None) -> list[Problem]:
    """The mistakes that an error carries, or the error as one: none is lost where checks go on after it.

    Parameters
    ----------
    where
        Row, column or key of an error that names no mistakes of its own.
    """
    stated = [problem if isinstance(problem, Problem) else Problem(problem) for problem in error.problems]
    return stated or [Problem(error.title, where=where)]


def condensed(problems: Sequence[Problem | str]) -> list[str]:
    """Lines that tell mistakes: of those alike but for file, value and numbers, the first three and how many more.

    A folder that was moved makes thousands of stacks missing, and one line enough to say it.
    """
    kinds = [_kind(problem) for problem in problems]
    counts, seen = Counter(kinds), Counter[tuple[str, ...]]()
    lines: list[str] = []
    for problem, kind in zip(problems, kinds, strict=True):
        seen[kind] += 1
        more = counts[kind] - _LISTED
        if seen[kind] <= _LISTED or more == 1:
            lines.append(str(problem))
        elif seen[kind] == counts[kind]:
            lines.append(f"{more} more of this kind, the last of them: {problem}")
    return lines


def _kind(problem: Problem | str) -> tuple[str, ...]:
    """What mistakes of one cause have in common."""
    if isinstance(problem, str):
        return (problem,)
    return tuple(_PLACES.sub("#", text) for text in (problem.message, problem.remedy, problem.where or ""))


def refused_by_system(error: OSError) -> BlushError | None:
    """What to tell the user of an error of the system; None for one that may be a mistake of the program."""
    if error.errno not in SYSTEM_REFUSALS:
        return None
    remedy = "restore the file or disk or its rights, and run the same command again"
    names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
    problem = Problem(os.strerror(error.errno), remedy, " to ".join(names) or None)
    return BlushError("the system does not allow it", [problem])
