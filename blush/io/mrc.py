"""The one reader and the one writer of MRC maps, and particle stacks.

A map is handed on as float32 in the order z, y, x, whatever its type, byte order, packing and order of axes were.
Sizes are checked against the file before anything is allocated.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import mrcfile
import numpy as np

from blush.config.input_file import cannot_read, no_file
from blush.errors import BlushError, Problem
from blush.io.files import atomic_write
from blush.io.header import Header, Numbers, read_header

ISOTROPY = 1e-3
"""Largest relative difference between the voxel's sides: headers round their cell."""
SAME_PIXEL = 1e-3
"""Largest relative difference between pixel sizes of maps that count as one."""
_GZIP_RATIO = 1032
"""What deflate packs into one byte at most."""
_CHUNK_VALUES = 1 << 22


@dataclass(frozen=True)
class Placement:
    """Where a map lies in the frame of a model.

    Parameters
    ----------
    origin_angst
        ORIGIN of MRC2014: x, y, z of the first voxel.
    start_px
        First voxel along x, y, z (NXSTART and so on).
    """

    origin_angst: Numbers = (0.0, 0.0, 0.0)
    start_px: tuple[int, int, int] = (0, 0, 0)

    def finer(self, factor: int) -> Placement:
        """The placement of the same map with `factor` voxels per voxel."""
        x, y, z = self.start_px
        return replace(self, start_px=(factor * x, factor * y, factor * z))


@dataclass(frozen=True)
class Map:
    """A map and what its header says of it.

    Attributes
    ----------
    array
        (d, h, w) float32 in the order z, y, x; finite.
    pixel_size_angst
        0 where the header does not say.
    """

    array: np.ndarray
    pixel_size_angst: float
    placement: Placement


def read_map(path: Path | str) -> Map:
    """Read a map, plain or packed with gzip.

    Raises
    ------
    BlushError
        Where the file is missing, malformed, shorter than its header says or not a map; where its voxels are no
        cubes, or hold values that are not finite.
    """
    path = Path(path)
    header = map_header(path)
    array = _in_zyx(_values(path, header), header.axes)
    if n_bad := array.size - int(np.count_nonzero(np.isfinite(array))):
        raise _refuse(path, "holds values that are not finite", "make the map again", f"{n_bad} voxels")
    starts = dict(zip(header.axes, header.start_px, strict=True))
    placement = Placement(header.origin_angst, (starts[1], starts[2], starts[3]))
    return Map(array, header.pixel_size_angst, placement)


def read_volume(path: Path | str) -> tuple[np.ndarray, float]:
    """Array and pixel size of `read_map`.

    Returns
    -------
    The map as float32 (d, h, w) in the order z, y, x, and its pixel size in Å; 0 where the header has none.

    Raises
    ------
    BlushError
        As `read_map`.
    """
    found = read_map(path)
    return found.array, found.pixel_size_angst


def map_header(path: Path | str) -> Header:
    """Header of a map that can be read to its end; its shape is still that of sections, rows and columns.

    Raises
    ------
    BlushError
        As `read_map`, but for the values.
    """
    path = Path(path)
    header = _whole_header(path)
    if header.shape[0] == 1 or header.holds_volumes:
        what = "several volumes" if header.holds_volumes else str(header.shape[1:])
        raise _refuse(path, "is not a volume", "give a map with three axes", what)
    if header.axes == (0, 0, 0):  # what programs leave that know of no other order
        header = replace(header, axes=(1, 2, 3))
    if sorted(header.axes) != [1, 2, 3]:
        found = ", ".join(map(str, header.axes))
        raise _refuse(path, "has no order of axes", "set MAPC, MAPR, MAPS to 1, 2, 3 in the header", found)
    sides = header.voxel_angst
    if min(sides) > 0 and max(sides) > (1 + ISOTROPY) * min(sides):
        found = " x ".join(f"{side:.5g}" for side in sides) + " Å"
        remedy = "resample it to cubic voxels, or correct the cell in the header"
        raise _refuse(path, "has voxels that are no cubes", remedy, found)
    return header


def write_volume(
    path: Path | str, array: np.ndarray, pixel_size_angst: float, placement: Placement | None = None
) -> None:
    """Write a (d, h, w) map as mode 2 (float32), beside and renamed; the label carries no date, so bytes repeat.

    Parameters
    ----------
    placement
        That of the map that this one was made from; at the origin where it is None.
    """
    if array.ndim != 3:
        raise ValueError(f"a volume has 3 axes, not {array.ndim}; shape {array.shape}")
    with atomic_write(path) as beside:
        values = np.ascontiguousarray(array, dtype=np.float32)
        _write(beside, values, pixel_size_angst, placement or Placement(), is_stack=False)


def write_stack(path: Path | str, images: np.ndarray, pixel_size_angst: float) -> None:
    """Write (n, h, w) images as a stack; float16, float32, int8 and int16 keep their type."""
    if images.ndim != 3:
        raise ValueError(f"a stack has 3 axes, not {images.ndim}; shape {images.shape}")
    with atomic_write(path) as beside:
        _write(beside, np.ascontiguousarray(images), pixel_size_angst, Placement(), is_stack=True)


def map_stack(path: Path | str) -> np.ndarray:
    """Memory-map a stack as (n, h, w), in the type and byte order it is stored in.

    Raises
    ------
    BlushError
        Where the file is missing, malformed, packed or shorter than its header says.
    """
    header = stack_header(path)
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset_bytes, shape=header.shape)


def stack_header(path: Path | str) -> Header:
    """Header of a stack that can be read to its end.

    Raises
    ------
    BlushError
        Where the file is missing, malformed, packed or shorter than its header says.
    """
    header = _whole_header(Path(path))
    if header.packed:
        raise _refuse(Path(path), "is a packed stack", "unpack it with gunzip: images are read where they lie")
    return header


def _refuse(path: Path, message: str, remedy: str, value: str | None = None) -> BlushError:
    """Build the error of one unreadable file."""
    return BlushError("cannot read an MRC file", [Problem(message, remedy, file=str(path), value=value)])


def _whole_header(path: Path) -> Header:
    """The header, of a file that is long enough for it."""
    if (problem := no_file(path, "correct the path or restore the file")) is not None:
        raise BlushError("cannot read an MRC file", [problem])
    try:
        size, header = path.stat().st_size, read_header(path)
    except ValueError as error:
        raise _refuse(path, str(error), "write the file again as MRC2014") from None
    except OSError as error:
        raise BlushError("cannot read an MRC file", [cannot_read(path, error)]) from None
    if (_GZIP_RATIO * size if header.packed else size) < header.file_bytes:
        wanted = f"is truncated: {header.file_bytes} bytes expected"
        raise _refuse(path, wanted, "copy or extract it again", f"{size} bytes")
    return header


def _values(path: Path, header: Header) -> np.ndarray:
    """Values as stored, float32 (sections, rows, columns), read in chunks: nothing is held twice."""
    count = math.prod(header.shape)
    values = np.empty(count, dtype=np.float32)
    try:
        with gzip.open(path) if header.packed else path.open("rb") as stream:
            stream.seek(header.offset_bytes)
            for start in range(0, count, _CHUNK_VALUES):
                stop = min(start + _CHUNK_VALUES, count)
                values[start:stop] = _next_values(stream, header.dtype, stop - start)
    except (OSError, EOFError, zlib.error) as error:
        message = f"is truncated or cannot be read: {error}"
        raise _refuse(path, message, "copy it again", f"{header.file_bytes} bytes expected") from None
    return values.reshape(header.shape)


def _next_values(stream: BinaryIO | gzip.GzipFile, dtype: np.dtype, count: int) -> np.ndarray:
    """The next `count` values of a stream.

    Raises
    ------
    EOFError
        Where it ends before.
    """
    raw = stream.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise EOFError("the file ends before its header says")
    return np.frombuffer(raw, dtype)


def _in_zyx(stored: np.ndarray, axes: tuple[int, int, int]) -> np.ndarray:
    """Sections, rows and columns put in the order z, y, x."""
    held = axes[::-1]  # what array axes 0, 1, 2 are: 1 is x, 3 is z
    return np.ascontiguousarray(stored.transpose([held.index(axis) for axis in (3, 2, 1)]))


def _write(path: Path, array: np.ndarray, pixel_size_angst: float, placement: Placement, *, is_stack: bool) -> None:
    """Write an MRC file whose bytes depend on its content alone."""
    with mrcfile.new(path, data=array, overwrite=True) as mrc:
        if is_stack:
            mrc.set_image_stack()
        mrc.voxel_size = pixel_size_angst
        mrc.header.nxstart, mrc.header.nystart, mrc.header.nzstart = placement.start_px
        mrc.header.origin.x, mrc.header.origin.y, mrc.header.origin.z = placement.origin_angst
        mrc.header.label[:] = b""
        mrc.header.label[0] = b"blush"
        mrc.header.nlabl = 1
