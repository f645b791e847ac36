"""Groups of results of cryoSPARC (`.csg`): which tables hold which slots of one particle group.

A `.csg` is YAML: `group.type`, and under `results` each slot (`blob`, `ctf`, ...) with the `metafile` that holds it. A
leading `>` makes a metafile relative to the group's folder, else it is relative to the project's
(https://guide.cryosparc.com/setup-configuration-and-management/software-system-guides/tutorial-data-management-in-cryosparc).
"""

from __future__ import annotations

from dataclasses import dataclass
from os.path import isfile
from pathlib import Path
from typing import Any

from blush.config.yaml_text import read_yaml
from blush.errors import BlushError, Problem, problems_of
from blush.io.cs_array import read_cs_array

TITLE = "cannot read a group of cryoSPARC"
_REMEDY = "give the .csg file as cryoSPARC wrote it, or the .cs file that it names"
_LONGEST_SHOWN = 200
_BESIDE = "copy the tables with the group, or give the .csg file where cryoSPARC wrote it"


@dataclass(frozen=True)
class CsGroup:
    """The tables of a group.

    Attributes
    ----------
    table
        The one with the fewest rows: the others, of jobs before, may have more.
    slots
        The table of each slot.
    """

    table: Path
    slots: dict[str, Path]

    @property
    def passthrough(self) -> tuple[Path, ...]:
        """All other tables."""
        return tuple(path for path in dict.fromkeys(self.slots.values()) if path != self.table)

    def slots_of(self, path: Path) -> set[str]:
        """Slots that are taken from a table."""
        return {slot for slot, table in self.slots.items() if table == path}


def is_cs_group(path: Path | str) -> bool:
    """Whether a file is a group of results of cryoSPARC, by its name."""
    return Path(path).suffix == ".csg"


def read_cs_group(path: Path) -> CsGroup:
    """Which tables a group names.

    Raises
    ------
    BlushError
        It cannot be read, is no group of particles, or names a table that cannot be read.
    """
    try:
        content = read_yaml(path)
    except BlushError as error:
        raise BlushError(TITLE, problems_of(error)) from None
    results = _results(content, path)
    slots = {slot: _metafile(slot, one, path) for slot, one in results.items()}
    rows = {table: len(read_cs_array(table)) for table in dict.fromkeys(slots.values())}
    return CsGroup(min(rows, key=rows.__getitem__), slots)


def _results(content: Any, path: Path) -> dict[str, Any]:
    """The slots of a group of particles, as they are written."""
    group = content.get("group") if isinstance(content, dict) else None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(group, dict) or not isinstance(results, dict) or not results:
        raise BlushError(TITLE, [Problem("names no results of a group", _REMEDY, str(path))])
    if (kind := group.get("type")) != "particle":
        remedy = "give the group of particles of the job"
        raise BlushError(TITLE, [Problem("is a group of another type", remedy, str(path), "group.type", str(kind))])
    return results


def _metafile(slot: str, one: Any, path: Path) -> Path:
    """The table that holds a slot."""
    name = one.get("metafile") if isinstance(one, dict) else None
    if not isinstance(name, str) or not name.removeprefix(">").endswith(".cs"):
        where = f"results.{slot}.metafile"
        raise BlushError(TITLE, [Problem("names no .cs file", _REMEDY, str(path), where, str(name))])
    folder = path.absolute().parent
    plain = name.removeprefix(">")
    places = [folder] if name.startswith(">") else [folder, *folder.parents]
    # unlike Path.is_file, this answers for names that no file system can hold
    found = next((place / plain for place in places if isfile(place / plain)), None)
    if found is None:
        where = f"results.{slot}.metafile"
        problem = Problem("names a table that is not there", _BESIDE, str(path), where, _shown(name))
        raise BlushError(TITLE, [problem])
    return found


def _shown(name: str) -> str:
    """A name without what a terminal cannot show, and no longer than a line."""
    plain = ascii(name)[1:-1]
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[:_LONGEST_SHOWN]}... ({len(plain)} characters)"
