"""The fields of a particle table of cryoSPARC: those of the table, and those that it lacks from its passthrough files.

A job writes the fields that it made into its own table, and those that it only handed on into a passthrough file; rows
belong together by their `uid`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.cs_array import read_cs_array
from blush.io.cs_group import CsGroup, is_cs_group, read_cs_group

Fields = dict[str, np.ndarray]
"""Columns by field: (n,) or (n, k)."""

_USED = ("uid", "blob/", "ctf/", "alignments3D/", "alignments_class_", "location/", "micrograph_blob/", "filament/")
_PASSTHROUGH = "*passthrough*.cs"


@dataclass(frozen=True)
class CsOptions:
    """How a table of cryoSPARC is read; of no effect on STAR files.

    Parameters
    ----------
    project
        Folder that paths of images are relative to; None: the table's folder or one above it.
    passthrough
        Files with the fields that the table lacks; None: those beside it that have all of its rows.
    leave_out_aberrations
        Whether aberrations that cannot be converted are left out with a warning, and not refused.
    """

    project: Path | None = None
    passthrough: tuple[Path, ...] | None = None
    leave_out_aberrations: bool = False


AS_IT_IS = CsOptions()
"""With what lies beside the table, and nothing left out."""


def passthrough_files(path: Path, options: CsOptions) -> tuple[Path, ...]:
    """The passthrough files of a table: those that are named, or those beside it that have all of its rows.

    Of a group (`.csg`) all tables that it names but the first, and those that are named besides.

    Raises
    ------
    BlushError
        One that is looked into cannot be read.
    """
    if is_cs_group(path):
        return (*read_cs_group(path).passthrough, *(options.passthrough or ()))
    if options.passthrough is not None:
        return options.passthrough
    beside = [one for one in sorted(path.absolute().parent.glob(_PASSTHROUGH)) if one.name != path.name]
    rows = read_cs_array(path)
    if not beside or "uid" not in (rows.dtype.names or ()):
        return ()
    wanted = rows["uid"]
    return tuple(one for one in beside if _has_rows(read_cs_array(one), wanted))


def _has_rows(rows: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether every wanted uid is in a table."""
    if "uid" not in (rows.dtype.names or ()) or rows["uid"].shape != (len(rows),) or wanted.ndim != 1:
        return False
    return bool(np.isin(wanted, rows["uid"]).all())


def read_cs_fields(path: Path, passthrough: Sequence[Path], problems: list[Problem]) -> Fields:
    """Every field that says something of particles, in the order of the table's rows.

    Mistakes are appended to `problems`.

    Raises
    ------
    BlushError
        A file cannot be read.
    """
    group = read_cs_group(path) if is_cs_group(path) else None
    table = group.table if group else path
    fields = _used(table, group)
    uid = _uids(table, fields, problems) if passthrough else None
    for other in passthrough:
        others = _used(other, group)
        known = _uids(other, others, problems)
        if uid is None or known is None:
            continue
        order = np.argsort(known, kind="stable")
        place = order[np.searchsorted(known[order], uid).clip(max=max(len(known) - 1, 0))] if len(known) else order
        if len(known) == 0 or (known[place] != uid).any():
            missing = len(uid) if len(known) == 0 else int(np.count_nonzero(known[place] != uid))
            remedy = f"give the passthrough file of the job that wrote {table.name}"
            problems.append(Problem("lacks rows of the table", remedy, str(other), "uid", f"{missing} of {len(uid)}"))
            continue
        slots = {name.partition("/")[0] for name in fields}
        new = {name for name in others if name.partition("/")[0] not in slots}
        fields |= {name: others[name][place] for name in others if name in new}
    return fields


def table_files(path: Path, options: CsOptions) -> tuple[Path, ...]:
    """Every file besides `path` that its rows come from.

    Raises
    ------
    BlushError
        One that is looked into cannot be read.
    """
    first = (read_cs_group(path).table,) if is_cs_group(path) else ()
    return (*first, *passthrough_files(path, options))


def _used(path: Path, group: CsGroup | None) -> Fields:
    """Fields of a table that are used, as arrays of their own; of a group's table the slots that it is named for."""
    rows = read_cs_array(path)
    names = [name for name in rows.dtype.names or () if name.startswith(_USED)]
    if group is not None and (slots := group.slots_of(path)):
        names = [name for name in names if name == "uid" or name.partition("/")[0] in slots]
    return {name: np.array(rows[name]) for name in names}


def _uids(path: Path, fields: Fields, problems: list[Problem]) -> np.ndarray | None:
    """What tells the rows of a file apart; None where nothing does."""
    uid = fields.get("uid")
    if uid is None or uid.ndim != 1 or uid.dtype.kind not in "iu":
        problems.append(Problem("has no field uid of whole numbers", "give the file as cryoSPARC wrote it", str(path)))
        return None
    if len(np.unique(uid)) < len(uid):
        problems.append(Problem("has rows of one uid", "give the file as cryoSPARC wrote it", str(path), "uid"))
        return None
    return uid
