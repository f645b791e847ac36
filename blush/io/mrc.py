"""MRC volumes and particle stacks."""

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np

from blush.errors import BlushError, Problem
from blush.io.files import atomic_write
from blush.io.header import Header, read_header


def _refuse(path: Path, message: str, remedy: str, value: str | None = None) -> BlushError:
    """Build the error of one unreadable file."""
    return BlushError("cannot read an MRC file", [Problem(message, remedy, file=str(path), value=value)])


def _open(path: Path | str) -> Any:
    """Memory-map an MRC file; old headers without the `MAP ` stamp are accepted, anything else malformed is refused."""
    path = Path(path)
    if not path.is_file():
        raise _refuse(path, "file does not exist", "correct the path or restore the file")
    try:
        return mrcfile.mmap(path, mode="r", permissive=_lacks_map_stamp(path))
    except (ValueError, OSError) as error:
        raise _refuse(path, f"not a readable MRC file: {error}", "write the file again as MRC2014") from error


def _lacks_map_stamp(path: Path) -> bool:
    """Tell whether the header predates the `MAP ` stamp of MRC2000."""
    with path.open("rb") as stream:
        stream.seek(208)
        return stream.read(4) != b"MAP "


def read_volume(path: Path | str) -> tuple[np.ndarray, float]:
    """Read a map.

    Returns
    -------
    The map as float32 (d, h, w) and its pixel size in Å, as the header's x axis says; 0 where the header has none.

    Raises
    ------
    BlushError
        Where the file is missing, malformed or not a volume.
    """
    with _open(path) as mrc:
        if mrc.data is None or mrc.data.ndim != 3:
            found = "no data" if mrc.data is None else str(mrc.data.shape)
            raise _refuse(Path(path), "is not a volume", "give a map with three axes", found)
        if np.iscomplexobj(mrc.data):
            raise _refuse(Path(path), "holds complex numbers", "give a map in real space", f"mode {mrc.header.mode}")
        return np.array(mrc.data, dtype=np.float32, order="C"), float(mrc.voxel_size.x)


def write_volume(path: Path | str, array: np.ndarray, pixel_size_angst: float) -> None:
    """Write a (d, h, w) map as mode 2 (float32), beside and renamed; the label carries no date, so bytes repeat."""
    if array.ndim != 3:
        raise ValueError(f"a volume has 3 axes, not {array.ndim}; shape {array.shape}")
    with atomic_write(path) as beside:
        _write(beside, np.ascontiguousarray(array, dtype=np.float32), pixel_size_angst, is_stack=False)


def write_stack(path: Path | str, images: np.ndarray, pixel_size_angst: float) -> None:
    """Write (n, h, w) images as a stack; float16, float32, int8 and int16 keep their type."""
    if images.ndim != 3:
        raise ValueError(f"a stack has 3 axes, not {images.ndim}; shape {images.shape}")
    with atomic_write(path) as beside:
        _write(beside, np.ascontiguousarray(images), pixel_size_angst, is_stack=True)


def _write(path: Path, array: np.ndarray, pixel_size_angst: float, is_stack: bool) -> None:
    """Write an MRC file whose bytes depend on its content alone."""
    with mrcfile.new(path, data=array, overwrite=True) as mrc:
        if is_stack:
            mrc.set_image_stack()
        mrc.voxel_size = pixel_size_angst
        mrc.header.label[:] = b""
        mrc.header.label[0] = b"blush"
        mrc.header.nlabl = 1


def map_stack(path: Path | str) -> np.ndarray:
    """Memory-map a stack as (n, h, w), in the type and byte order it is stored in.

    Raises
    ------
    BlushError
        Where the file is missing, malformed or shorter than its header says.
    """
    header = stack_header(path)
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset_bytes, shape=header.shape)


def stack_header(path: Path | str) -> Header:
    """Header of a stack that can be read to its end.

    Raises
    ------
    BlushError
        Where the file is missing, malformed or shorter than its header says.
    """
    path = Path(path)
    if not path.is_file():
        raise _refuse(path, "file does not exist", "correct the path or restore the file")
    try:
        header = read_header(path)
    except ValueError as error:
        raise _refuse(path, str(error), "write the file again as MRC2014") from error
    size = path.stat().st_size
    if size < header.file_bytes:
        raise _refuse(
            path, f"is truncated: {header.file_bytes} bytes expected", "copy or extract it again", f"{size} bytes"
        )
    return header
