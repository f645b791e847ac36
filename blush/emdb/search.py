"""EMDB's search and its description of an entry, as far as a training needs them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from blush.config.training import EmdbSource
from blush.emdb.client import Client, NotThere
from blush.emdb.files import BOX_LIMIT_PX
from blush.emdb.manifest import ENTRY, FILE_NAME
from blush.errors import BlushError, Problem
from blush.io.files import parse_json

FIELDS = ("emdb_id", "resolution", "half_map_filename")
UNKNOWN_ANGST = 99.0
"""Where a search states no resolution: such entries come last."""
LARGEST_DESCRIPTION_BYTES = 1 << 24
LARGEST_COUNT = 500
"""Of proteins in an entry, and of characters in a symbol."""


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
        That of the map.
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
    """Entries that match the query, best resolution first, then by number; or those that are listed.

    Raises
    ------
    BlushError
        Where the answer is no table, or an entry is listed that is none.
    """
    if source.entries:
        wrong = [Problem("is not an entry", "write it as EMD-1234", "sources.emdb.entries", value=e)
                 for e in source.entries if not ENTRY.fullmatch(e)]  # fmt: skip
        if wrong:
            raise BlushError("the entries cannot be fetched", wrong)
        return list(dict.fromkeys(source.entries))
    fields = ",".join(FIELDS)
    url = f"{source.api_url.rstrip('/')}/search/{quote(source.query, safe='')}?rows=100000&fl={fields}&wt=csv"
    try:
        text = client.get(f"{url}&download=false").decode("utf-8", "replace")
    except NotThere as error:
        remedy = "check sources.emdb.api_url and query in a browser"
        raise BlushError("the search gave no table", [Problem(str(error), remedy, url)]) from None
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    names = _cells(lines[0]) or []
    if "emdb_id" not in names:
        remedy = "check sources.emdb.api_url and query in a browser"
        raise BlushError("the search gave no table", [Problem("has no column emdb_id", remedy, url)])
    found: dict[str, float] = {}
    odd: list[int] = []
    for number, line in enumerate(lines[1:], start=2):
        cells = _cells(line)
        row = dict(zip(names, cells, strict=False)) if cells else {}
        if ENTRY.fullmatch(row.get("emdb_id", "")):
            found[row["emdb_id"]] = _stated(row.get("resolution")) or UNKNOWN_ANGST
        elif line.strip():
            odd.append(number)
    if odd:
        client.tell(f"{url}: {len(odd)} row(s) name no entry and are left out, the first in line {odd[0]}")
    return sorted(found, key=lambda entry: (found[entry], int(entry[4:]), entry))


def _cells(line: str) -> list[str] | None:
    """Values of one line of a table with commas; None where it is none."""
    try:
        return next(csv.reader([line], strict=True), None)
    except csv.Error:
        return None


def _stated(text: str | None) -> float | None:
    """A resolution of the search, by which entries are ordered; their descriptions decide."""
    try:
        return _number(text, "resolution")
    except ValueError:
        return None


def describe(client: Client, source: EmdbSource, entry: str) -> EntryInfo:
    """Read the description of an entry; whatever is missing in it is left empty.

    Raises
    ------
    NotThere
        Where there is none.
    ValueError
        Where it is no description, or holds what is no number, name or symbol where one should be.
    """
    content = parse_json(client.get(f"{source.api_url.rstrip('/')}/entry/{entry}", LARGEST_DESCRIPTION_BYTES))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    process = _first(content, "structure_determination_list", "structure_determination", "image_processing")
    final = _at(process, "final_reconstruction") or {}
    found = content.get("map") or {}
    contours = _listed(_at(found, "contour_list", "contour"))
    proteins = tuple(sorted(_accessions(content)))
    if len(proteins) > LARGEST_COUNT:
        raise ValueError(f"it names {len(proteins)} proteins")
    return EntryInfo(
        entry=entry,
        resolution_angst=_number(_at(final, "resolution", "valueOf_"), "resolution"),
        pixel_size_angst=_number(_at(found, "pixel_spacing", "x", "valueOf_"), "pixel size"),
        box_px=_box(_at(found, "dimensions", "col")),
        symmetry=_symbol(_at(final, "applied_symmetry", "point_group"), "symmetry") or "C1",
        proteins=proteins,
        contour=next((_number(c.get("level"), "contour", positive=False) for c in contours), None),
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
    """Names of maps, none of which leads out of a folder.

    Raises
    ------
    ValueError
        Where one does, or cannot be the name of a map.
    """
    names = [item["file"] for item in _listed(found) if item.get("file")]
    for name in names:
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            raise ValueError(f"it names a file {repr(name)[:80]}, which is no name of a map")
    return tuple(names)


def _accessions(content: Any) -> set[str]:
    """Every UniProt accession anywhere in the description, however deep."""
    found: set[str] = set()
    left = [content]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            if str(item.get("type_", item.get("type", "")))[:20].upper() == "UNIPROTKB" and item.get("valueOf_"):
                found.add(_symbol(item["valueOf_"], "accession"))
            left += item.values()
        elif isinstance(item, list):
            left += item
    return found


def _symbol(value: Any, what: str) -> str:
    """A short line of text; empty where there is none.

    Raises
    ------
    ValueError
        Where it is something else.
    """
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or len(value) > LARGEST_COUNT or not value.isprintable():
        raise ValueError(f"its {what} is {repr(value)[:80]}")
    return value.strip()


def _number(value: Any, what: str, *, positive: bool = True) -> float | None:
    """A finite number, or None where there is none.

    Raises
    ------
    ValueError
        Where it is something else.
    """
    if value in (None, ""):
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or (positive and number <= 0):
        raise ValueError(f"its {what} is {repr(value)[:80]}")
    return number


def _box(value: Any) -> int | None:
    """A number of pixels, or None where there is none; raises ValueError where it cannot be one."""
    number = _number(value, "box")
    if number is not None and (number != int(number) or number >= BOX_LIMIT_PX):
        raise ValueError(f"its box is {repr(value)[:80]}")
    return None if number is None else int(number)
