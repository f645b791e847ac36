"""The list of what was fetched, one row per entry, from which the same files are fetched again, and known again."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from blush.errors import BlushError, Problem
from blush.io.files import atomic_write


@dataclass(frozen=True)
class Row:
    """One entry; numbers are text, empty where unknown, so that rows are read back as they were written.

    Attributes
    ----------
    half1, half2, mask
        Paths from the manifest's folder.
    *_bytes, *_sha256
        Of the files as they were fetched.
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
        Where it is missing or lacks a column.
    """
    if not path.is_file():
        raise BlushError("cannot read the manifest", [Problem("file does not exist", "fetch first", str(path))])
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream, dialect="excel-tab")
        lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if lacking:
            problem = Problem(f"has no column {', '.join(lacking)}", "write it again: blush train-fetch", str(path))
            raise BlushError("cannot read the manifest", [problem])
        return [Row(**{name: line[name] or "" for name in COLUMNS}) for line in reader]
