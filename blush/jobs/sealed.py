"""The files of a run under their seals: written with one, checked whenever they are read, set aside where damaged."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import xxhash

from blush.errors import BlushError
from blush.io import seal
from blush.io.files import read_record, write_json
from blush.io.noted import NOTES, noted_digest, read_notes
from blush.io.seal import DamagedFile, Owner
from blush.jobs.layout import RunFolder
from blush.refine.state import ALGORITHM_VERSION


def run_digest(identity: dict[str, str]) -> str:
    """16 hexadecimal digits that tell runs of different identity apart."""
    return xxhash.xxh3_64_hexdigest(json.dumps(identity, sort_keys=True).encode())


def owner(folder: RunFolder, path: Path) -> Owner:
    """Where a file of a run belongs.

    Raises
    ------
    DamagedFile
        If the run's own identity cannot be read.
    """
    return Owner(_run_of(folder), str(path.relative_to(folder.root)))


def _run_of(folder: RunFolder) -> str:
    path = folder.identity
    try:
        stat = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise DamagedFile(path, "is missing") from None
    except OSError as error:
        raise DamagedFile(path, f"cannot be opened: {error.strerror}", "correct the name of the run's folder") from None
    return _digest_of_identity(path, (stat.st_mtime_ns, stat.st_size, stat.st_ino))


@lru_cache(maxsize=8)
def _digest_of_identity(path: Path, _version: tuple[int, int, int]) -> str:
    stated = seal.read_seal(path)
    seal.verify(path, Owner(stated.run, path.name))
    run = run_digest(read_record(path))
    if run != stated.run:
        raise DamagedFile(path, "does not agree with its seal")
    return run


def read_identity(folder: RunFolder) -> dict[str, str] | None:
    """Digests of what decides a run's results; None where there are none, or where they were damaged and set aside.

    An identity that contradicts the seals of several files beside it is another run's. That of an older version of
    the algorithm bears no seal and is given back, to be refused.
    """
    path = folder.identity
    if not path.exists():
        return None
    try:
        run = _run_of(folder)
    except DamagedFile as damage:
        if older := _older_identity(path):
            return older
        put_aside(folder, damage)
        return None
    others = [seal.read_seal(p).run for p in (*folder.frozen(mask=False), folder.state(0)) if seal.is_sealed(p)]
    if len(others) > 1 and len(set(others)) == 1 and run not in others:
        put_aside(folder, DamagedFile(path, "belongs to another run than the files beside it"))
        return None
    return read_record(path)


def _older_identity(path: Path) -> dict[str, str] | None:
    """An identity without a seal, as versions of the algorithm before this one wrote it."""
    try:
        content = read_record(path)
    except BlushError:  # it is damaged
        return None
    is_older = content.get("algorithm", str(ALGORITHM_VERSION)) != str(ALGORITHM_VERSION)
    return content if is_older else None


def write_identity(folder: RunFolder, identity: dict[str, str]) -> None:
    """Write the digests that the seals of all other files refer to."""
    with seal.sealed(folder.identity, Owner(run_digest(identity), folder.identity.name)) as beside:
        write_json(beside, identity)


def blank(folder: RunFolder, path: Path) -> str:
    """What a STAR file bears as its comment until it is sealed."""
    return seal.blank_seal(owner(folder, path))


@contextmanager
def written(folder: RunFolder, path: Path) -> Iterator[Path]:
    """Yield a temporary path; what is written there becomes `path`, sealed."""
    with seal.sealed(path, owner(folder, path)) as beside:
        yield beside


def checked(folder: RunFolder, path: Path) -> Path:
    """The same path, once its file has been found to be what this run wrote under this name.

    Raises
    ------
    DamagedFile
        If it is not, or is missing.
    """
    seal.verify(path, owner(folder, path))
    return path


def content_digest(path: Path) -> str:
    """Digest of a file's content by its seal alone; whoever loads the file checks it."""
    return seal.read_seal(path).digest


def kept(folder: RunFolder, *paths: Path) -> bool:
    """Whether all of these results are there and good; those that are there but damaged are set aside."""
    good = True
    for path in paths:
        try:
            checked(folder, path)
        except DamagedFile as damage:
            good = False
            put_aside(folder, damage)
    return good


def note(folder: RunFolder, paths: Sequence[Path]) -> None:
    """Note the digests of finished results of one folder beside them."""
    notes = paths[0].with_name(NOTES)
    known = dict(read_notes(notes.parent)) if kept(folder, notes) else {}
    with written(folder, notes) as beside:
        write_json(beside, known | {path.name: noted_digest(path) for path in paths})


def as_noted(folder: RunFolder, place: Path, wanted: Callable[[str], bool] = lambda name: True) -> bool:
    """Whether those wanted of the results noted in a place are there and good, at least one; others are set aside."""
    if not kept(folder, place / NOTES):
        return False
    notes = {name: digest for name, digest in read_notes(place).items() if wanted(name)}
    good = bool(notes)
    for name, digest in notes.items():
        path = place / name
        if not path.is_file():
            good = False
        elif noted_digest(path) != digest:
            good = False
            put_aside(folder, DamagedFile(path, "was changed after it was written"))
    return good


def put_aside(folder: RunFolder, damage: DamagedFile) -> None:
    """Rename a damaged file, where it is not missing, and tell so on the terminal and in the progress log."""
    path = damage.path
    if not path.exists():
        return
    aside = seal.set_aside(path)
    sys.stderr.write(f"blush: warning: {path} {damage.fault}; it is set aside as {aside.name}\n")
    folder.log(stage="damaged", file=str(path.relative_to(folder.root)), fault=damage.fault)
