"""Seals: a file that is read back says whose it is and what is in it, in 79 characters of its own.

A seal is one line of ASCII, `blush-seal 1 RUN NAME DIGEST`: XXH3 (64 bits) of the run and of the file's path in the
run's folder, and XXH3 (128 bits) of every other byte of the file. It lies where each format leaves room for it: the
comment of a zip archive, a label of an MRC header, the last member of a JSON object, a comment of a STAR file. So
other programs read these files as before, and one renaming makes a file and its seal appear together.

XXH3 finds damage and mistakes, not intent: whoever can write the file can write a seal. It is taken at about 12 GB/s
where the file is in memory; reading the file again for it costs as much as `cat` does.
"""

import json
import re
import shutil
import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import xxhash

from blush.errors import BlushError, Problem
from blush.io.files import SEAL_KEY, atomic_write

SEAL_BYTES = 79
_DIGEST_BYTES = 32
_PATTERN = re.compile(rb"blush-seal 1 ([0-9a-f]{16}) ([0-9a-f]{16}) ([0-9a-f]{32})")
_HEAD, _TAIL, _CHUNK = 1024, 128, 1 << 22
_MRC_LABEL_COUNT, _MRC_SECOND_LABEL = 220, 224 + 80


class DamagedFile(BlushError):
    """A file that a run wrote is missing, is not as it was written, or belongs elsewhere.

    Parameters
    ----------
    path
        The file.
    fault
        What is wrong with it, in one clause.
    remedy
        What the user can do about it.
    """

    def __init__(self, path: Path, fault: str, remedy: str = "run the same command again to make it anew") -> None:
        self.path, self.fault, self.remedy = path, fault, remedy
        super().__init__("a file of this run cannot be used", [Problem(fault, remedy, file=str(path))])

    def __reduce__(self) -> tuple[type, tuple[Path, str, str]]:
        return type(self), (self.path, self.fault, self.remedy)


class LostParts(DamagedFile):
    """A file cannot be made since more is missing than the step that makes it can make again by itself."""


@dataclass(frozen=True)
class Owner:
    """Where a file belongs.

    Parameters
    ----------
    run
        16 hexadecimal digits that tell one run from another.
    name
        Path of the file within the run's folder.
    """

    run: str
    name: str


@dataclass(frozen=True)
class Seal:
    """What a seal says: digests of the run, the name and the content, in hexadecimal digits."""

    run: str
    name: str
    digest: str


@contextmanager
def sealed(path: Path, owner: Owner) -> Iterator[Path]:
    """Yield a temporary path; what is written there replaces `path` with a seal on it.

    The name of `path` must end in `.npz`, `.pt` (a zip), `.mrc`, `.json` (an object) or `.star`; a STAR file must have
    been written with `blank_seal` as its comment.
    """
    with atomic_write(path) as beside:
        yield beside
        _EMBED[path.suffix](beside, blank_seal(owner).encode())
        with beside.open("r+b") as stream:
            place, _ = _find(stream, path)
            digest = _digest(stream, place).encode()
            stream.seek(place + SEAL_BYTES - _DIGEST_BYTES)
            stream.write(digest)


def blank_seal(owner: Owner) -> str:
    """The seal of a file whose digest has not been taken yet."""
    return f"blush-seal 1 {owner.run} {xxhash.xxh3_64_hexdigest(owner.name.encode())} {'0' * _DIGEST_BYTES}"


def verify(path: Path, owner: Owner) -> str:
    """Read a file once and compare it with its seal.

    Returns
    -------
    The digest of its content.

    Raises
    ------
    DamagedFile
        Where it is missing, bears no seal, was changed after it was written, or is another's.
    """
    seal = verify_content(path)
    if seal.run != owner.run:
        raise DamagedFile(path, "belongs to another run, or to other inputs of this one")
    if seal.name != xxhash.xxh3_64_hexdigest(owner.name.encode()):
        raise DamagedFile(path, "was written under another name: it belongs to another step of this run")
    return seal.digest


def verify_content(path: Path) -> Seal:
    """Read a file once and compare its content with its seal, whoever it belongs to.

    Raises
    ------
    DamagedFile
        Where it is missing, bears no seal, or was changed after it was written.
    """
    try:
        with path.open("rb") as stream:
            place, seal = _find(stream, path)
            found = _digest(stream, place)
    except FileNotFoundError:
        raise DamagedFile(path, "is missing") from None
    if found != seal.digest:
        raise DamagedFile(path, "was changed after it was written: its content does not agree with its seal")
    return seal


def is_sealed(path: Path) -> bool:
    """Whether a file is there and bears a seal; cut files do not, as the seals of arrays lie at the end."""
    try:
        read_seal(path)
    except DamagedFile:
        return False
    return True


def read_seal(path: Path) -> Seal:
    """What a file's seal says, without reading the rest of the file.

    Raises
    ------
    DamagedFile
        Where the file is missing or bears no seal.
    """
    try:
        with path.open("rb") as stream:
            return _find(stream, path)[1]
    except FileNotFoundError:
        raise DamagedFile(path, "is missing") from None


def _find(stream: BinaryIO, path: Path) -> tuple[int, Seal]:
    """Place and content of a seal, which lies in the first 1024 bytes of a file or in the last 128."""
    size = stream.seek(0, 2)
    for start, length in ((0, _HEAD), (max(0, size - _TAIL), _TAIL)):
        stream.seek(start)
        if found := _PATTERN.search(stream.read(length)):
            return start + found.start(), Seal(*(part.decode() for part in found.groups()))
    raise DamagedFile(path, f"has no seal: it was cut short, overwritten, or written by another program ({size} bytes)")


def _digest(stream: BinaryIO, place: int) -> str:
    """XXH3 of a file but for the digest in its seal, which begins at byte `place`."""
    state, left = xxhash.xxh3_128(), place + SEAL_BYTES - _DIGEST_BYTES
    stream.seek(0)
    while left and (chunk := stream.read(min(left, _CHUNK))):
        state.update(chunk)
        left -= len(chunk)
    stream.seek(place + SEAL_BYTES)
    while chunk := stream.read(_CHUNK):
        state.update(chunk)
    return state.hexdigest()


def _into_zip(path: Path, seal: bytes) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = seal


def _into_mrc(path: Path, seal: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(_MRC_LABEL_COUNT)
        stream.write(struct.pack("<i", 2))
        stream.seek(_MRC_SECOND_LABEL)
        stream.write(seal.ljust(80))


def _into_json(path: Path, seal: bytes) -> None:
    content: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("only a JSON object can be sealed")
    text = path.read_text(encoding="utf-8").rstrip().removesuffix("}").rstrip()
    comma = "," if content else ""
    path.write_text(f'{text}{comma}\n  "{SEAL_KEY}": "{seal.decode()}"\n}}\n', encoding="utf-8")


def _into_star(path: Path, seal: bytes) -> None:
    with path.open("rb") as stream:
        if seal not in stream.read(_HEAD):
            raise ValueError("a STAR file is sealed by the comment at its top")


_EMBED = {".npz": _into_zip, ".pt": _into_zip, ".mrc": _into_mrc, ".json": _into_json, ".star": _into_star}


def set_aside(path: Path) -> Path:
    """Rename a file to the first free `NAME.damaged-N` and return the new path; nothing is ever overwritten."""
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    shutil.move(path, aside)
    return aside
