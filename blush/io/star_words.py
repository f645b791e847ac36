"""Words of a line of a STAR file, and one word as it has to be written: each undoes the other."""

import re

_CLOSING = {'"': re.compile(r'"(?=\s|$)'), "'": re.compile(r"'(?=\s|$)")}
_WORD = re.compile(r"\S+")
_NEEDS_QUOTES = re.compile(r"\s|^[_#$\"';]|^(?:data_|loop_|save_|global_|stop_)", re.IGNORECASE)


def words(line: str) -> tuple[list[str], int]:
    """Split a line at blanks; a quote at the start of a word reaches to the next such quote before a blank.

    A quote that is never closed is part of its word. The time is linear in the length of the line.

    Returns
    -------
    All words, and how many of them stand before the first that begins with `#` outside of quotes: a comment, or a
    value like any other where the row needs it.
    """
    if '"' in line or "'" in line:
        return _quoted_words(line)
    found = line.split()
    if "#" not in line:
        return found, len(found)
    return found, next((index for index, word in enumerate(found) if word.startswith("#")), len(found))


def _quoted_words(line: str) -> tuple[list[str], int]:
    """`words` of a line with quotes in it."""
    found: list[str] = []
    comment: int | None = None
    closings = dict(_CLOSING)
    word = _WORD.search(line)
    while word is not None:
        start, end = word.span()
        closing = closings.get(line[start])
        close = closing.search(line, start + 1) if closing else None
        if close is not None:
            found.append(line[start + 1 : close.start()])
            end = close.end()
        else:
            closings.pop(line[start], None)  # if none closes this one, none closes a later one
            if comment is None and line[start] == "#":
                comment = len(found)
            found.append(word.group())
        word = _WORD.search(line, end)
    return found, len(found) if comment is None else comment


def quoted(text: str) -> str:
    """The word as it has to be written, in quotes where it would be split or taken for a keyword otherwise.

    Raises
    ------
    ValueError
        Where STAR cannot hold it: a line break, NUL, or both quotes, each before a blank.
    """
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError(f"a value of a STAR file cannot hold a line break or NUL: {text!r}")
    if text and not _NEEDS_QUOTES.search(text):
        return text
    for quote, closing in _CLOSING.items():
        if not closing.search(f"{text}_"):  # a quote at the very end of it stands before the closing one
            return f"{quote}{text}{quote}"
    raise ValueError(f"a value of a STAR file cannot hold both quotes, each before a blank: {text!r}")
