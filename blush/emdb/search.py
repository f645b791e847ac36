"""EMDB's search and its description of an entry, as far as a training needs them."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from blush.config.training import EmdbSource
from blush.emdb.client import Client
from blush.errors import BlushError, Problem

FIELDS = ("emdb_id", "resolution", "half_map_filename")
NUMBER = re.compile(r"^EMD-(\d+)$")


@dataclass(frozen=True)
class EntryInfo:
    """One structure of the archive.

    Attributes
    ----------
    entry
        As EMD-1234.
    resolution_angst
        As deposited; None where none is.
    pixel_size_angst, box_px
        Of the map.
    symmetry
        Point group of the reconstruction; C1 where none is given.
    proteins
        UniProt accessions, sorted.
    contour
        Recommended level of the map, or None.
    half_maps, masks
        Names of files.
    """

    entry: str
    resolution_angst: float | None
    pixel_size_angst: float | None
    box_px: int | None
    symmetry: str
    proteins: tuple[str, ...]
    contour: float | None
    half_maps: tuple[str, ...]
    masks: tuple[str, ...]

    @property
    def group(self) -> str:
        """What counts as one structure: the same proteins in the same point group."""
        return f"{'+'.join(self.proteins)}/{self.symmetry}" if self.proteins else self.entry

    def urls(self, files_url: str) -> tuple[tuple[str, ...], str | None]:
        """Addresses of the half-maps, and of the first mask."""
        folder = f"{files_url.rstrip('/')}/{self.entry}"
        masks = tuple(f"{folder}/masks/{name}" for name in self.masks)
        return tuple(f"{folder}/other/{name}" for name in self.half_maps), masks[0] if masks else None


def search(client: Client, source: EmdbSource) -> list[str]:
    """Entries that match the query, best resolution first, then by number; or those that are listed."""
    if source.entries:
        wrong = [Problem("is not an entry", "write it as EMD-1234", "sources.emdb.entries", value=e)
                 for e in source.entries if not NUMBER.match(e)]  # fmt: skip
        if wrong:
            raise BlushError("the entries cannot be fetched", wrong)
        return list(source.entries)
    fields = ",".join(FIELDS)
    url = f"{source.api_url.rstrip('/')}/search/{quote(source.query, safe='')}?rows=100000&fl={fields}&wt=csv"
    text = client.get(f"{url}&download=false").decode("utf-8", "replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    if rows and "emdb_id" not in rows[0]:
        remedy = "check sources.emdb.api_url and query in a browser"
        raise BlushError("the search gave no table", [Problem("has no column emdb_id", remedy, url)])
    found = {row["emdb_id"]: _number(row.get("resolution")) for row in rows if NUMBER.match(row["emdb_id"] or "")}
    return sorted(found, key=lambda entry: (found[entry] or 99.0, int(entry[4:])))


def describe(client: Client, source: EmdbSource, entry: str) -> EntryInfo:
    """Read the description of an entry; whatever is missing in it is left empty."""
    content = json.loads(client.get(f"{source.api_url.rstrip('/')}/entry/{entry}"))
    process = _first(content, "structure_determination_list", "structure_determination", "image_processing")
    final = _at(process, "final_reconstruction") or {}
    found = content.get("map") or {}
    contours = _listed(_at(found, "contour_list", "contour"))
    return EntryInfo(
        entry=entry,
        resolution_angst=_number(_at(final, "resolution", "valueOf_")),
        pixel_size_angst=_number(_at(found, "pixel_spacing", "x", "valueOf_")),
        box_px=_whole(_at(found, "dimensions", "col")),
        symmetry=str(_at(final, "applied_symmetry", "point_group") or "C1"),
        proteins=tuple(sorted(_accessions(content))),
        contour=next((_number(c.get("level")) for c in contours), None),
        half_maps=_files(_at(content, "interpretation", "half_map_list", "half_map")),
        masks=_files(_at(content, "interpretation", "segmentation_list", "segmentation")),
    )


def _at(content: Any, *keys: str) -> Any:
    """Value at a path of keys; lists stand for their first element."""
    for key in keys:
        if isinstance(content, list):
            content = content[0] if content else None
        content = content.get(key) if isinstance(content, dict) else None
    return content


def _first(content: Any, *keys: str) -> Any:
    """As `_at`, and the first element of a list at its end."""
    found = _at(content, *keys)
    return (found[0] if found else None) if isinstance(found, list) else found


def _listed(found: Any) -> list[dict[str, Any]]:
    items = found if isinstance(found, list) else [found]
    return [item for item in items if isinstance(item, dict)]


def _files(found: Any) -> tuple[str, ...]:
    return tuple(str(item["file"]) for item in _listed(found) if item.get("file"))


def _accessions(content: Any) -> set[str]:
    """Every UniProt accession anywhere in the description."""
    found: set[str] = set()
    if isinstance(content, dict):
        if str(content.get("type_", content.get("type", ""))).upper() == "UNIPROTKB" and content.get("valueOf_"):
            found.add(str(content["valueOf_"]))
        for value in content.values():
            found |= _accessions(value)
    elif isinstance(content, list):
        for value in content:
            found |= _accessions(value)
    return found


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


def _whole(text: Any) -> int | None:
    value = _number(text)
    return None if value is None else int(value)
