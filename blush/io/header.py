"""The fixed 1,024 bytes of an MRC file, read without its data."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import mrcfile.dtypes
import numpy as np

ByteOrder: TypeAlias = Literal["<", ">"]

_ORDERS: tuple[ByteOrder, ...] = ("<", ">")
_HEADER_BYTES = 1024
_TYPES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}
_BYTE_ORDERS: dict[bytes, ByteOrder] = {b"DD": "<", b"DA": "<", b"\x11\x11": ">"}
_LARGEST_AXIS_PX = 1_000_000_000


@dataclass(frozen=True)
class Header:
    """What a reader of images needs to know of one file.

    Parameters
    ----------
    shape
        Sections, rows, columns: (n, h, w) or (d, h, w).
    dtype
        Type and byte order of the stored values.
    offset_bytes
        Where the values start.
    pixel_size_angst
        Along x; 0 where the header does not say.
    has_map_stamp
        False for headers older than MRC2000.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset_bytes: int
    pixel_size_angst: float
    has_map_stamp: bool

    @property
    def file_bytes(self) -> int:
        """Size of a complete file."""
        return self.offset_bytes + int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(path: Path | str) -> Header:
    """Read the header of an MRC file of either byte order, with or without the `MAP ` stamp.

    Raises
    ------
    ValueError
        Where it is not an MRC header, says what it holds instead of numbers, or its byte order is wrong.
    """
    with Path(path).open("rb") as stream:
        raw = stream.read(_HEADER_BYTES)
    if len(raw) < _HEADER_BYTES:
        raise ValueError(f"is {len(raw)} bytes long, shorter than the {_HEADER_BYTES} bytes of an MRC header")
    has_map_stamp = raw[208:212] == b"MAP "
    fields = np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(_byte_order(raw, has_map_stamp)))[0]
    mode = int(fields["mode"])
    if mode not in _TYPES:
        raise ValueError(f"has mode {mode}; images of mode {', '.join(map(str, _TYPES))} can be read")
    shape = (int(fields["nz"]), int(fields["ny"]), int(fields["nx"]))
    if min(shape) < 1:
        raise ValueError(f"has an axis of no length: {shape[2]} x {shape[1]} x {shape[0]}")
    return Header(
        shape=shape,
        dtype=np.dtype(_TYPES[mode]).newbyteorder(_byte_order(raw, has_map_stamp)),
        offset_bytes=_HEADER_BYTES + max(int(fields["nsymbt"]), 0),
        pixel_size_angst=_pixel_size(fields),
        has_map_stamp=has_map_stamp,
    )


def _byte_order(raw: bytes, has_map_stamp: bool) -> ByteOrder:
    """Byte order by the machine stamp, checked against the mode and the axes."""
    order = _BYTE_ORDERS.get(raw[212:214])
    plausible = [candidate for candidate in _ORDERS if _is_plausible(raw, candidate)]
    if order is None and has_map_stamp:
        raise ValueError(f"has the unknown machine stamp {raw[212:216].hex(' ')}; 44 44 00 00 is little-endian")
    if order is None and plausible:
        return plausible[0]
    if order not in plausible and plausible:
        raise ValueError(f"is byte-swapped: the machine stamp {raw[212:216].hex(' ')} contradicts its numbers")
    if order is None:
        raise ValueError("is not an MRC file: no stamp, and its numbers make no sense in either byte order")
    return order


def _is_plausible(raw: bytes, order: ByteOrder) -> bool:
    """Tell whether axes and mode make sense in this byte order."""
    columns, rows, sections, mode = np.frombuffer(raw[:16], f"{order}i4").tolist()
    return 0 <= mode < 256 and all(0 <= length < _LARGEST_AXIS_PX for length in (columns, rows, sections))


def _pixel_size(fields: np.void) -> float:
    """Cell length over sampling along x; 0 where either is missing."""
    sampling = int(fields["mx"])
    return float(fields["cella"]["x"]) / sampling if sampling > 0 else 0.0
