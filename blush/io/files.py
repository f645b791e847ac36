"""Writing beside and renaming: a killed job leaves the old file or the new one, and equal content gives equal bytes."""

import errno
import json
import math
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from blush.errors import SYSTEM_REFUSALS, BlushError, Problem
from blush.io.json_text import REMAKE, SEAL_KEY, parse_json, read_json, read_record

__all__ = [
    "SEAL_KEY", "as_written", "atomic_write", "load_npz", "parse_json", "read_json", "read_record",
    "save_npz", "told_if_unwritable", "write_json",
]  # fmt: skip
_NO_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
"""What the disk says where a name of a path is another thing than a folder, or no name for it."""
_LONGEST_SHOWN = 200
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
_LARGEST_RATIO, _FREE_BYTES = 8, 100 << 20
"""An npz that unpacks to more than so many times its size, and so much, holds nothing that is written here."""
_NPZ_FAULTS = (
    OSError, EOFError, KeyError, ValueError, TypeError, OverflowError, MemoryError, RuntimeError, NotImplementedError,
    SyntaxError, TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What zipfile and NumPy raise of damaged files."""


@contextmanager
def atomic_write(path: Path | str, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path in the folder of `path`, which replaces `path` on success and is removed on failure.

    The temporary has a name that cannot be guessed, and only its owner can read it; `mode` is that of the result, the
    umask's where None.

    Raises
    ------
    BlushError
        The disk is full, over quota or not to be written on.
    """
    path = Path(path)
    with told_if_unwritable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        beside = Path(name)
        try:
            yield beside
            beside.chmod(0o666 & ~_umask() if mode is None else mode)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def told_if_unwritable(path: Path) -> Iterator[None]:
    """Say which file could not be written where the disk, not the program, is at fault.

    Raises
    ------
    BlushError
        The disk is full, over quota or not to be written on.
    """
    try:
        yield
    except OSError as error:
        is_place = error.errno in _NO_PLACE and _concerns(error, path)
        if error.errno not in SYSTEM_REFUSALS and not is_place:
            raise
        remedy = "make room or give permission there, and run the same command again"
        remedy = "name another place" if is_place else remedy
        problem = Problem(f"cannot be written: {error.strerror}", remedy, str(path))
        raise BlushError("the results have nowhere to go", [problem]) from error


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the system's complaint is about a path, its folders, or what is written beside it."""
    named = Path(os.fsdecode(error.filename or ""))
    return named in (path, *path.parents) or named.parent == path.parent


def _umask() -> int:
    """Umask of this process; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_json(path: Path | str, content: Any) -> None:
    """Write JSON with sorted keys, refusing NaN, so that equal content gives equal bytes."""
    text = json.dumps(content, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    with atomic_write(path) as beside:
        beside.write_text(text + "\n", encoding="utf-8")


def save_npz(path: Path | str, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays as an npz, in name order and without time stamps: equal content gives equal bytes."""
    with atomic_write(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as stream:
                # order="C" without ascontiguousarray, which would turn a scalar into a vector
                np.lib.format.write_array(stream, np.asarray(arrays[name], order="C"), allow_pickle=False)


def load_npz(path: Path | str, remedy: str = REMAKE, starts: tuple[str, ...] = ("",)) -> dict[str, np.ndarray]:
    """Read the arrays of an npz; sizes are compared with each other and with the file's before anything is allocated.

    Parameters
    ----------
    remedy
        What to do about a file that cannot be read.
    starts
        Only arrays whose names begin so are read.

    Raises
    ------
    BlushError
        Where it is missing or damaged, unpacks to far more than its size, or holds anything but arrays of numbers and
        text.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path.stat().st_size)
            return {name: _array(archive, member) for name, member in members.items() if name.startswith(starts)}
    except _NPZ_FAULTS as error:
        reason = (isinstance(error, OSError) and error.strerror) or error or type(error).__name__
        problem = Problem(f"cannot be read as arrays (.npz): {str(reason)[:_LONGEST_SHOWN]}", remedy, str(path))
        raise BlushError("cannot read a file", [problem]) from None


def _members(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Members of an archive that can hold what they say, by the names of their arrays.

    Raises
    ------
    ValueError
        Where a name is there twice or is no array's, where one is packed in another way, or all are too large.
    """
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise ValueError("it holds a name twice")
    for member in members:
        if not member.filename.endswith(".npy"):
            raise ValueError(f"it holds {ascii(member.filename)[:60]}, which is no array")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"{ascii(member.filename)[:60]} is packed by method {member.compress_type}")
    total = sum(member.file_size for member in members)
    if total > _LARGEST_RATIO * file_bytes + _FREE_BYTES:
        raise ValueError(f"its {file_bytes} bytes unpack to {total}")
    return {member.filename.removesuffix(".npy"): member for member in members}


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, whose header has been held against the size of its member.

    Raises
    ------
    ValueError
        Where they do not agree, or it holds Python objects or records.
    """
    with archive.open(member) as stream:
        versions = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = versions[np.lib.format.read_magic(stream)](stream)
        wanted, found = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    if dtype.kind not in "biufcSU" or dtype.subdtype is not None:
        raise ValueError(f"{member.filename} holds {dtype}, neither numbers nor text")
    if min(shape, default=0) < 0 or wanted != found:
        raise ValueError(f"{member.filename} says {wanted} bytes, and holds {found}")
    with archive.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array


@contextmanager
def as_written(path: Path | str, remedy: str = REMAKE) -> Iterator[None]:
    """Say which file is at fault where taking something out of what was read of it fails.

    Raises
    ------
    BlushError
        Where something is missing in it, or is of another kind than this program writes.
    """
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else f"holds something else than it should: {error}"
        raise BlushError("cannot use a file", [Problem(reason[:300], remedy, str(path))]) from error
