"""All readers of the program by name."""

from __future__ import annotations

from fuzzing import archive, maps, networks, records, settings, tables
from fuzzing.reader import Reader

READERS: dict[str, Reader] = {
    reader.name: reader for module in (tables, maps, archive, records, settings, networks) for reader in module.READERS
}
