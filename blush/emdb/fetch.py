"""Half-maps of published structures: searched, fetched, checked, listed; what is there already is not fetched again.

Each entry has a folder with its files and `entry.json`, its row of the manifest, written when it is settled: fetched
and whole, or rejected with the reason. The manifest is made of these in the order of the search when all are settled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blush.config.training import EmdbSource
from blush.emdb.client import Client, NotThere
from blush.emdb.files import examine, largest_file_bytes, sha256_of
from blush.emdb.manifest import ENTRY, KINDS, Row, read_manifest, read_row, write_manifest
from blush.emdb.search import EntryInfo, describe, search
from blush.errors import BlushError, Problem
from blush.io.files import parse_json, write_json

SEARCH, RECORD = "search.json", "entry.json"
Tell = Callable[[str], None]


def fetch(source: EmdbSource, folder: Path, manifest: Path, tell: Tell, client: Client | None = None) -> list[Row]:
    """Fetch what the source describes into a folder, and write the manifest.

    Parameters
    ----------
    client
        None: one as polite as the source says.

    Returns
    -------
    Rows of the manifest.

    Raises
    ------
    BlushError
        Where the archive does not answer, or files differ from those of `source.repeat`.
    """
    client = client or Client(source.interval_s, source.retries, source.timeout_s, tell)
    wanted = {row.entry: row for row in read_manifest(source.repeat)} if source.repeat else {}
    entries = list(wanted) or _found(client, source, folder)
    rows: list[Row] = []
    kept, total, received, begun = 0, 0, 0, time.monotonic()
    for number, entry in enumerate(entries, start=1):
        if not wanted and (kept >= source.largest_number or total > source.largest_gb * 1e9):
            tell(f"enough: {kept} entries, {total / 1e9:.1f} GB")
            break
        row, came = _settled(client, source, folder, entry, wanted.get(entry))
        received += came
        rows.append(row)
        kept += not row.reason
        total += sum(int(getattr(row, f"{kind}_bytes") or 0) for kind in KINDS)
        spent = time.monotonic() - begun
        left = spent / number * (min(len(entries), number + source.largest_number - kept) - number)
        tell(
            f"{entry} ({number} of {len(entries)}): {row.reason or 'fine'}; {kept} kept, {total / 1e9:.2f} GB, "
            f"{received / 1e6 / max(spent, 1e-9):.1f} MB/s, {left / 60:.0f} min left at most"
        )
    write_manifest(manifest, rows)
    return rows


def _found(client: Client, source: EmdbSource, folder: Path) -> list[str]:
    """Result of the search, asked once and kept, so that a resumed run fetches what the first one would have."""
    path = folder / SEARCH
    asked = {"query": source.query, "entries": list(source.entries), "api_url": source.api_url}
    if path.exists() and (kept := _kept(path))["asked"] == asked:
        return list(kept["found"])
    found = search(client, source)
    if not found:
        problem = Problem("finds nothing", "relax it", "sources.emdb.query", value=source.query)
        raise BlushError("there is nothing to fetch", [problem])
    write_json(path, {"asked": asked, "found": found})
    return found


def _kept(path: Path) -> dict[str, Any]:
    """What was asked for and found before.

    Raises
    ------
    BlushError
        Where the file is damaged, or names what is no entry.
    """
    try:
        kept = parse_json(path.read_bytes())
        found = kept["found"] if isinstance(kept, dict) and kept.keys() == {"asked", "found"} else None
        if isinstance(found, list) and all(isinstance(entry, str) and ENTRY.fullmatch(entry) for entry in found):
            return dict(kept)
        message = "is no result of a search"
    except (OSError, ValueError) as error:
        message = str(error)
    problem = Problem(message, "remove it, and the same command asks the archive again", str(path))
    raise BlushError("cannot read the result of the search", [problem])


def _settled(client: Client, source: EmdbSource, folder: Path, entry: str, wanted: Row | None) -> tuple[Row, int]:
    """Row of an entry, and the bytes that had to be fetched for it."""
    path = folder / entry / RECORD
    if path.exists():
        try:
            row = read_row(path)
        except BlushError as error:
            client.tell(f"{path} is made again: {'; '.join(map(str, error.problems))}")
        else:
            if row.entry == entry and (row.reason or not (changed := _changed(row, folder))):
                return _same(row, wanted), 0
            for file in changed:
                client.tell(f"{file} is not the file that was fetched, and is fetched again")
                file.unlink(missing_ok=True)
    row, received = _fetched(client, source, folder, entry)
    write_json(path, asdict(row))
    return _same(row, wanted), received


def _changed(row: Row, folder: Path) -> list[Path]:
    """Files of a row that are not there with their sizes and hashes."""
    changed = []
    for kind in KINDS:
        if not (name := getattr(row, kind)):
            continue
        path = folder / name
        whole = path.is_file() and str(path.stat().st_size) == getattr(row, f"{kind}_bytes")
        if not whole or sha256_of(path) != getattr(row, f"{kind}_sha256"):
            changed.append(path)
    return changed


def _same(row: Row, wanted: Row | None) -> Row:
    """The row, if its files are those of a manifest that is repeated.

    Raises
    ------
    BlushError
        If one is another.
    """
    if wanted is None:
        return row
    remedy = "the archive has changed it: take the entry out of the manifest"
    problems = []
    for kind in KINDS:
        found, listed = getattr(row, f"{kind}_sha256"), getattr(wanted, f"{kind}_sha256")
        if not wanted.reason and found != listed:
            place = f"{row.entry}: {getattr(wanted, kind)}"
            problems.append(Problem("is not the file of the manifest", remedy, place, value=found or row.reason))
    if problems:
        raise BlushError("the training cannot be repeated", problems)
    return replace(row, reason=wanted.reason or row.reason)


def _fetched(client: Client, source: EmdbSource, folder: Path, entry: str) -> tuple[Row, int]:
    """Describe an entry, fetch its maps, check them."""
    try:
        info = describe(client, source, entry)
    except NotThere as error:
        return Row(entry, reason=f"no description: {error}"), 0
    except ValueError as error:
        return Row(entry, reason=f"its description cannot be read: {' '.join(str(error).split())}"), 0
    row = Row(
        entry,
        resolution_angst=_text(info.resolution_angst),
        pixel_size_angst=_text(info.pixel_size_angst),
        symmetry=info.symmetry,
        group=info.group,
        contour=_text(info.contour),
    )
    if len(info.half_maps) != 2:
        return replace(row, reason=f"has {len(info.half_maps)} half-maps"), 0
    names = [*info.half_maps, *info.masks[:1]]
    if len(set(names)) < len(names):
        return replace(row, reason=f"names one file twice: {', '.join(names)}"), 0
    return _with_files(client, source, folder, info, row)


def _with_files(client: Client, source: EmdbSource, folder: Path, info: EntryInfo, row: Row) -> tuple[Row, int]:
    """The row of an entry with its maps, fetched and checked, or with the reason why it is not used."""
    halves, mask = info.urls(source.files_url)
    addresses = {"half1": halves[0], "half2": halves[1]} | ({"mask": mask} if mask else {})
    received, voxels = 0, {}
    for kind, url in addresses.items():
        target = folder / info.entry / url.rsplit("/", 1)[1]
        reason, came, voxels[kind] = _whole_file(client, url, target, info)
        received += came
        if reason and kind == "mask":
            client.tell(f"{target.name} {reason}; a mask is made")
            continue
        if not reason and kind == "half2" and voxels["half1"] == voxels["half2"]:
            reason = "holds the same numbers as the other half-map"
        if reason:
            return replace(row, reason=f"{target.name} {' '.join(reason.split())}"), received
        found = {kind: f"{info.entry}/{target.name}", f"{kind}_bytes": str(target.stat().st_size)}
        row = replace(row, **found, **{f"{kind}_sha256": sha256_of(target)})
    return row, received


def _whole_file(client: Client, url: str, target: Path, info: EntryInfo) -> tuple[str, int, str]:
    """Fetch one file, a second time if it came damaged: what is wrong with it, the bytes that came, its digest."""
    received, wrong = 0, ""
    for _ in range(2):
        if not target.exists():
            try:
                received += client.download(url, target, largest_file_bytes(info.box_px))
            except NotThere as error:
                return f"is not there: {error}", received, ""
        examined = examine(target, info.box_px, info.pixel_size_angst)
        wrong = examined.fault
        if not wrong:
            return "", received, examined.voxels
        target.unlink()
    return wrong, received, ""


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
