"""Files that the user names: why one cannot be read, told before it is read."""

from __future__ import annotations

import os
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from blush.errors import BlushError, Problem

_LONGEST_SHOWN = 200


def unreadable(path: Path | str, remedy: str = "correct the path") -> Problem | None:
    """Why a file cannot be read; None where it can.

    Whatever the system says is told with the file's name: what `no_file` tells, or that it is not this user's to read.

    Parameters
    ----------
    remedy
        What to do where nothing is there.
    """
    path = Path(path)
    if (problem := no_file(path, remedy)) is not None:
        return problem
    try:
        with path.open("rb") as stream:
            stream.read(1)
    except OSError as error:
        return cannot_read(path, error)
    return None


def no_file(path: Path, remedy: str) -> Problem | None:
    """Why a path is none of a file, without opening it; None where it is.

    It may be missing, a link that leads nowhere, a folder, or a pipe, from which reading would wait for ever.
    """
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        if path.is_symlink():
            target = os.readlink(path)
            return Problem("is a link to a file that does not exist", "correct the link", str(path), value=target)
        return Problem("file does not exist", remedy, str(path))
    except (OSError, ValueError) as error:  # no rights, a name too long for the system, or a NUL in it
        reason = getattr(error, "strerror", None) or error
        return Problem(f"cannot be opened: {reason}", "correct the name, or its folder's rights", _shown(path))
    if not S_ISREG(mode):
        what = "a folder" if S_ISDIR(mode) else "a pipe, socket or device"
        return Problem(f"is not a file but {what}", "give the path of a file", str(path))
    return None


def read_text(path: Path, title: str, remedy: str = "correct the path") -> str:
    """Text of a file in UTF-8, lines ended by a line feed.

    Parameters
    ----------
    title
        What cannot be done without it.
    remedy
        What to do where nothing is there.

    Raises
    ------
    BlushError
        Where it cannot be read, or is no text.
    """
    if (problem := unreadable(path, remedy)) is not None:
        raise BlushError(title, [problem])
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        problem = Problem(f"is not text in UTF-8: {error.reason} at byte {error.start}", "save it so", str(path))
        raise BlushError(title, [problem]) from None
    except OSError as error:
        raise BlushError(title, [cannot_read(path, error)]) from None
    if "\0" in text:
        raise BlushError(title, [Problem("holds NUL bytes", "restore the file; it is damaged", str(path))])
    return text


def cannot_read(path: Path | str, error: OSError) -> Problem:
    """What the system says of a file that it began to read."""
    return Problem(f"cannot be read: {error.strerror or error}", "restore the file or its rights", str(path))


def _shown(path: Path) -> str:
    """A name without what a terminal cannot show, and no longer than a line."""
    name = ascii(str(path))[1:-1]
    return name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}... ({len(name)} characters)"
