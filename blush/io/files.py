"""Writing beside and renaming: a killed job leaves the old file or the new one, and equal content gives equal bytes."""

import errno
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from blush.errors import BlushError, Problem

_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO}
_NO_PLACE = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP}
"""What the disk says where a name of a path is another thing than a folder, or no name for it."""
SEAL_KEY = "~seal"
"""Member of a JSON object that holds the seal of its file (`blush.io.seal`); it sorts last and is no content."""
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


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
        if error.errno not in _REFUSALS and not is_place:
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


def parse_json(text: bytes | str) -> Any:
    """One JSON document.

    Raises
    ------
    ValueError
        Where it is none: of another grammar, no UTF-8, nested beyond what can be read, or with NaN or Infinity in it.
    """
    try:
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def _no_number(name: str) -> float:
    raise ValueError(f"holds {name}, which is no JSON")


def read_json(path: Path | str) -> Any:
    """Read one JSON document, without the seal that it may bear.

    Raises
    ------
    ValueError
        As `parse_json`.
    """
    content = parse_json(Path(path).read_bytes())
    if isinstance(content, dict):
        content.pop(SEAL_KEY, None)
    return content


def save_npz(path: Path | str, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write arrays as an npz, in name order and without time stamps: equal content gives equal bytes."""
    with atomic_write(path) as beside, zipfile.ZipFile(beside, "w") as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=_ZIP_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            with archive.open(entry, "w", force_zip64=True) as stream:
                # order="C" without ascontiguousarray, which would turn a scalar into a vector
                np.lib.format.write_array(stream, np.asarray(arrays[name], order="C"), allow_pickle=False)


def load_npz(path: Path | str) -> dict[str, np.ndarray]:
    """Read every array of an npz; pickled objects are refused."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
