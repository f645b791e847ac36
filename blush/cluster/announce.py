"""Lines for the person at the terminal, also from a rule whose output goes into a log."""

import os
import sys

_VARIABLE = "BLUSH_ANNOUNCE_FD"


def keep_terminal() -> None:
    """Keep the terminal that the workflow hands over from the processes that this one starts: they outlive it."""
    number = os.environ.get(_VARIABLE, "")
    if number.isdigit():
        try:
            os.set_inheritable(int(number), False)
        except OSError:  # not open: a process further down, which has its standard error only
            del os.environ[_VARIABLE]


def announce(line: str) -> None:
    """Write a line to the terminal of the workflow, else to standard error."""
    number = os.environ.get(_VARIABLE, "")
    text = f"blush: {line}\n"
    try:
        os.write(int(number), text.encode())
    except (ValueError, OSError):  # none was handed over, or it is gone
        sys.stderr.write(text)
