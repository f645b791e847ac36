"""The progress log of a run, read back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def read_progress(path: Path) -> tuple[Record, ...]:
    """Lines of a progress log; one that is being written, or was cut by a full disk, is left out."""
    if not path.exists():
        return ()
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and "stage" in record and "time" in record:
            records.append(record)
    return tuple(records)
