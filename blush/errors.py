"""The one exception for mistakes of the user, carrying all of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass


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
        return "\n".join([self.title, *(f"  {problem}" for problem in self.problems)])
