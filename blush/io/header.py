"""The fixed 1,024 bytes of an MRC file, read without its data; files packed with gzip are looked into."""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import mrcfile.dtypes
import numpy as np

ByteOrder: TypeAlias = Literal["<", ">"]
Numbers: TypeAlias = tuple[float, float, float]

_ORDERS: tuple[ByteOrder, ...] = ("<", ">")
_HEADER_BYTES = 1024
PIXEL_TOLERANCE = 0.01
"""Headers and tables round; more than 1 % is another pixel size."""
_TYPES = {0: np.int8, 1: np.int16, 2: np.float32, 6: np.uint16, 12: np.float16}
_COMPLEX_MODES = (3, 4)
_BYTE_ORDERS: dict[bytes, ByteOrder] = {b"DD": "<", b"DA": "<", b"\x11\x11": ">"}
_LARGEST_AXIS_PX = 1_000_000_000
_LARGEST_START_PX = 10_000_000
_GZIP = b"\x1f\x8b"
_IMOD_STAMP = 1146047817
"""Word 39 of files by IMOD and its followers; bit 0 of word 40 then says whether bytes are signed."""
_SERIAL_EM_VOLUMES = 401
"""Space groups from here on: several volumes in one file."""


@dataclass(frozen=True)
class Header:
    """What a reader of images or maps needs to know of one file.

    Parameters
    ----------
    shape
        Sections, rows, columns: (n, h, w) or (d, h, w), as stored.
    dtype
        Type and byte order of the stored values.
    offset_bytes
        Where the values start.
    pixel_size_angst
        Along x; 0 where the header does not say.
    has_map_stamp
        False for headers older than MRC2000.
    voxel_angst
        Along x, y, z; 0 where the header does not say.
    axes
        MAPC, MAPR, MAPS: which of x (1), y (2), z (3) columns, rows and sections are.
    start_px
        First column, row and section, as stored.
    origin_angst
        x, y, z of the first voxel; 0 where the header holds no number.
    space_group
        0 for images, 1 for a map, 401 and more for several.
    packed
        Whether the file is a gzip of an MRC file.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    offset_bytes: int
    pixel_size_angst: float
    has_map_stamp: bool
    voxel_angst: Numbers = (0.0, 0.0, 0.0)
    axes: tuple[int, int, int] = (1, 2, 3)
    start_px: tuple[int, int, int] = (0, 0, 0)
    origin_angst: Numbers = (0.0, 0.0, 0.0)
    space_group: int = 1
    packed: bool = False

    @property
    def file_bytes(self) -> int:
        """Size of a complete file, unpacked; a Python integer, which does not overflow."""
        return self.offset_bytes + math.prod(self.shape) * self.dtype.itemsize

    @property
    def holds_volumes(self) -> bool:
        """Whether the file holds several volumes."""
        return self.space_group >= _SERIAL_EM_VOLUMES


def read_header(path: Path | str) -> Header:
    """Read the header of an MRC file of either byte order, with or without the `MAP ` stamp, plain or packed.

    Raises
    ------
    ValueError
        Where it is not an MRC header, says what it holds instead of numbers, or its byte order is wrong.
    """
    raw, packed = _first_bytes(Path(path))
    if len(raw) < _HEADER_BYTES:
        raise ValueError(f"is {len(raw)} bytes long, shorter than the {_HEADER_BYTES} bytes of an MRC header")
    has_map_stamp = raw[208:212] == b"MAP "
    order = _byte_order(raw, has_map_stamp)
    fields = np.frombuffer(raw, mrcfile.dtypes.HEADER_DTYPE.newbyteorder(order))[0]
    shape = (int(fields["nz"]), int(fields["ny"]), int(fields["nx"]))
    if min(shape) < 1:
        raise ValueError(f"has an axis of no length: {shape[2]} x {shape[1]} x {shape[0]}")
    extended = int(fields["nsymbt"])
    if extended < 0:
        raise ValueError(f"has an extended header of {extended} bytes")
    voxel = _voxel_size(fields)
    return Header(
        shape=shape,
        dtype=_dtype(raw, int(fields["mode"]), order),
        offset_bytes=_HEADER_BYTES + extended,
        pixel_size_angst=voxel[0],
        has_map_stamp=has_map_stamp,
        voxel_angst=voxel,
        axes=(int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"])),
        start_px=(_start(fields, "nxstart"), _start(fields, "nystart"), _start(fields, "nzstart")),
        origin_angst=_origin(fields, has_map_stamp),
        space_group=int(fields["ispg"]),
        packed=packed,
    )


def _first_bytes(path: Path) -> tuple[bytes, bool]:
    """The first 1,024 bytes, unpacked, and whether they were packed."""
    with path.open("rb") as stream:
        raw = stream.read(_HEADER_BYTES)
        if not raw.startswith(_GZIP):
            return raw, False
        stream.seek(0)
        try:
            with gzip.open(stream) as unpacked:
                return unpacked.read(_HEADER_BYTES), True
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"is not a complete gzip file: {error}") from None


def _dtype(raw: bytes, mode: int, order: ByteOrder) -> np.dtype:
    """Type of the values; bytes are signed unless IMOD's stamp says otherwise."""
    if mode in _COMPLEX_MODES:
        raise ValueError(f"has mode {mode}, complex numbers; images and maps are real")
    if mode not in _TYPES:
        raise ValueError(f"has mode {mode}; images of mode {', '.join(map(str, _TYPES))} can be read")
    stamp, flags = np.frombuffer(raw[152:160], f"{order}i4").tolist()
    if mode == 0 and stamp == _IMOD_STAMP and not flags & 1:
        return np.dtype(np.uint8)
    return np.dtype(_TYPES[mode]).newbyteorder(order)


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


def _voxel_size(fields: np.void) -> Numbers:
    """Cell length over sampling along x, y, z; 0 where either is missing or no number."""
    sizes = []
    for axis in "xyz":
        cell, sampling = float(fields["cella"][axis]), int(fields[f"m{axis}"])
        sizes.append(cell / sampling if sampling > 0 and math.isfinite(cell) else 0.0)
    return sizes[0], sizes[1], sizes[2]


def _start(fields: np.void, name: str) -> int:
    """First voxel along an axis; 0 where it is none that a map could have."""
    value = int(fields[name])
    return value if abs(value) < _LARGEST_START_PX else 0


def _origin(fields: np.void, has_map_stamp: bool) -> Numbers:
    """x, y, z in Å; older headers keep other things in these words."""
    x, y, z = (float(fields["origin"][axis]) for axis in "xyz")
    return (x, y, z) if has_map_stamp and all(map(math.isfinite, (x, y, z))) else (0.0, 0.0, 0.0)
