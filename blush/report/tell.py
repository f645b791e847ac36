"""Words for a terminal: lines as wide as it is; in a pipe they stay as they are."""

import shutil
import sys
import textwrap

_NARROWEST = 20


def tell(text: str, indent: int = 0, *, err: bool = False) -> None:
    """Write lines: to a terminal in parts as wide as it is, all but the first indented; else as they are.

    Parameters
    ----------
    indent
        Columns by which the later parts of a line stand further right than its first.
    err
        Whether they go to the standard error.
    """
    stream = sys.stderr if err else sys.stdout
    lines = text.split("\n")
    if stream.isatty():
        columns = shutil.get_terminal_size().columns
        lines = [part for line in lines for part in wrapped(line, columns, indent)]
    stream.write("".join(f"{line}\n" for line in lines))
    stream.flush()


def wrapped(line: str, columns: int, indent: int) -> list[str]:
    """Parts of a line; words stay whole, so that a path can be copied."""
    later = " " * (len(line) - len(line.lstrip()) + indent)
    parts = textwrap.wrap(
        line, max(_NARROWEST, columns), subsequent_indent=later, break_on_hyphens=False, break_long_words=False
    )
    return parts or [""]
