"""Digests of finished results, noted in `.seals.json` beside them: for files of formats that belong to other programs.

RELION's tables, maps and spectra of postprocessing and the summary are read again by the report, by a later import, by
`blush postprocess`. Whoever reads one compares it with what was noted when it was written.
"""

from collections.abc import Mapping
from pathlib import Path

import xxhash

from blush.config.input_file import unreadable
from blush.errors import BlushError
from blush.io import seal
from blush.io.files import read_record
from blush.io.seal import DamagedFile

NOTES = ".seals.json"
_CHUNK = 1 << 22


def noted_digest(path: Path) -> str:
    """XXH3 (128 bits) of a file, in hexadecimal digits."""
    state = xxhash.xxh3_128()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def read_notes(folder: Path) -> Mapping[str, str]:
    """Digests by name that were noted in a folder; none where nothing was.

    Raises
    ------
    DamagedFile
        Where the notes are not as they were written.
    """
    path = folder / NOTES
    if not path.exists():
        return {}
    try:
        seal.verify_content(path)
        notes: dict[str, str] = read_record(path)
    except BlushError:
        remedy = "give the command that refines this run again, or remove this file to take those beside it as they are"
        raise DamagedFile(path, "was changed after it was written", remedy) from None
    return notes


def check_own(path: Path) -> None:
    """Refuse a file that Blush wrote and that was changed since; any other passes, as it cannot be told.

    Raises
    ------
    DamagedFile
        Where its content is not what its seal says, or what was noted beside it.
    """
    if unreadable(path) is not None:  # whoever reads it says why
        return
    noted = read_notes(path.parent).get(path.name)
    if noted is not None and noted_digest(path) != noted:
        remedy = "restore it; where the change is yours, give your version another name"
        raise DamagedFile(path, "was changed after Blush wrote it", remedy)
    if path.suffix == ".mrc" and seal.is_sealed(path):
        try:
            seal.verify_content(path)
        except DamagedFile as damage:
            remedy = "restore it; where the change is yours, clear the second label of its header, Blush's seal"
            raise DamagedFile(path, damage.fault, remedy) from None
