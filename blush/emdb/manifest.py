"""The list of what was fetched, one row per entry, from which the same files are fetched again, and known again."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, parse_json

TITLE = "cannot read the manifest"
KINDS = ("half1", "half2", "mask")
ENTRY = re.compile(r"EMD-[0-9]{1,9}")
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,150}\.(map|mrc|ccp4)(\.gz)?")
"""Of a map: no separator, no blank, no dot at its beginning."""
_NUMBER = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-][0-9]{1,2})?")
"""As `%g` writes it."""
_COUNT, _SHA256 = re.compile(r"[0-9]{1,18}"), re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Row:
    """One entry; numbers are text, empty where unknown, so that rows are read back as they were written.

    Attributes
    ----------
    half1, half2, mask
        Paths from the manifest's folder.
    *_bytes, *_sha256
        Those of the files as they were fetched.
    reason
        Why it is not used; empty where it is.
    """

    entry: str
    resolution_angst: str = ""
    pixel_size_angst: str = ""
    symmetry: str = "C1"
    group: str = ""
    contour: str = ""
    half1: str = ""
    half2: str = ""
    mask: str = ""
    half1_bytes: str = ""
    half2_bytes: str = ""
    mask_bytes: str = ""
    half1_sha256: str = ""
    half2_sha256: str = ""
    mask_sha256: str = ""
    reason: str = ""

    def faults(self) -> list[tuple[str, str]]:
        """Columns that cannot be believed, each with what is wrong: no row may name a file outside its own folder."""
        found = [] if ENTRY.fullmatch(self.entry) else [("entry", "is no entry such as EMD-1234")]
        found += [
            (name, "is no number")
            for name in ("resolution_angst", "pixel_size_angst", "contour")
            if (text := getattr(self, name)) and not _NUMBER.fullmatch(text)
        ]
        for kind in KINDS:
            path, size, sha256 = (getattr(self, f"{kind}{ending}") for ending in ("", "_bytes", "_sha256"))
            folder, _, name = path.partition("/")
            if path and not (folder == self.entry and FILE_NAME.fullmatch(name)):
                found.append((kind, f"is no map in the folder {self.entry}"))
            if size and not _COUNT.fullmatch(size):
                found.append((f"{kind}_bytes", "is no number of bytes"))
            if sha256 and not _SHA256.fullmatch(sha256):
                found.append((f"{kind}_sha256", "is no SHA-256"))
            if not self.reason and (kind != "mask" or path) and not (path and size and sha256):
                found.append((kind, "lacks its path, size or hash, and no reason is given"))
        if not self.reason and (self.half1 == self.half2 or self.half1_sha256 == self.half2_sha256):
            found.append(("half2", "is the same file as half1"))
        return found


COLUMNS = tuple(field.name for field in fields(Row))


def write_manifest(path: Path, rows: Sequence[Row]) -> None:
    """Write the list in the order of its rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, dialect="excel-tab", lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    with atomic_write(path) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")


def read_manifest(path: Path) -> list[Row]:
    """Read the list.

    Raises
    ------
    BlushError
        Where it is missing or lacks a column; with every row that is there twice or names what it may not.
    """
    if not path.is_file():
        raise BlushError(TITLE, [Problem("file does not exist", "fetch first", str(path))])
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, dialect="excel-tab", strict=True)
            lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            lines = [] if lacking else list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problem = Problem(f"is no table: {error}", "write it again: blush train-fetch", str(path))
        raise BlushError(TITLE, [problem]) from None
    if lacking:
        problem = Problem(f"has no column {', '.join(lacking)}", "write it again: blush train-fetch", str(path))
        raise BlushError(TITLE, [problem])
    rows = [Row(**{name: line[name] or "" for name in COLUMNS}) for line in lines]
    problems, seen = [], set()
    for number, (row, line) in enumerate(zip(rows, lines, strict=True), start=2):
        faults = row.faults() + ([("", "has more values than there are columns")] if None in line else [])
        faults += [("entry", "is there twice")] if row.entry in seen else []
        seen.add(row.entry)
        problems += [
            Problem(message, "take the row out", str(path), f"row {number}, {name}", str(getattr(row, name, ""))[:80])
            for name, message in faults
        ]
    if problems:
        raise BlushError(TITLE, problems)
    return rows


def read_row(path: Path) -> Row:
    """Read the record of one entry, as `write_json` wrote it.

    Raises
    ------
    BlushError
        Where it is damaged or names what it may not.
    """
    content: Any = None
    try:
        content = parse_json(path.read_bytes())
        faults = [] if isinstance(content, dict) else ["is no JSON object"]
    except (OSError, ValueError) as error:
        faults = [str(error)]
    if isinstance(content, dict):
        texts = all(isinstance(value, str) and value.isprintable() for value in content.values())
        if content.keys() != set(COLUMNS) or not texts:
            faults = ["has not the members of a record, each a line of text"]
        else:
            faults = [f"{name} {message}" for name, message in Row(**content).faults()]
    if faults:
        remedy = "remove it, and the same command asks the archive again"
        raise BlushError("cannot read the record of an entry", [Problem(text, remedy, str(path)) for text in faults])
    return Row(**content)
