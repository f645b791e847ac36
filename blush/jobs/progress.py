"""The progress log of a run, read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from blush.io.json_text import parse_json

Record = dict[str, Any]


def read_progress(path: Path) -> tuple[Record, ...]:
    """Lines of a progress log; one that is being written, or was cut by a full disk, is left out."""
    if not path.exists():
        return ()
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = progress_of(line)
        if record is not None:
            records.append(record)
    return tuple(records)


def progress_of(line: str | bytes) -> Record | None:
    """What a line of a progress log says; None for one that was cut by a full disk or a killed writer."""
    try:
        record = parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not isinstance(record.get("stage"), str):
        return None
    is_dated = isinstance(record.get("time"), int | float) and isinstance(record.get("iteration", 0), int)
    return record if is_dated else None
