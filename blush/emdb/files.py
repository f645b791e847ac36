"""Checks of downloaded maps: whole gzip, a header that is one of a cubic map, the size that it says."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import xxhash

HEADER_BYTES = 1024
BYTES_OF_MODE = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}
BLOCK_BYTES = 1 << 20
BOX_LIMIT_PX = 10_000


@dataclass(frozen=True)
class MapHeader:
    """What the header of an MRC or CCP4 file says.

    Attributes
    ----------
    box_px
        (x, y, z) columns, rows, sections.
    axes
        1, 2, 3 where columns, rows and sections are x, y and z.
    start_px
        First column, row, section.
    """

    box_px: tuple[int, int, int]
    mode: int
    pixel_size_angst: float
    axes: tuple[int, int, int]
    start_px: tuple[int, int, int]
    extended_bytes: int

    @property
    def file_bytes(self) -> int:
        """Size of the whole file, unpacked."""
        nx, ny, nz = self.box_px
        return HEADER_BYTES + self.extended_bytes + nx * ny * nz * BYTES_OF_MODE.get(self.mode, 0)


def parse_header(block: bytes) -> MapHeader | None:
    """Read the first 1,024 bytes of a map, in either byte order; None where they are none."""
    if len(block) < HEADER_BYTES:
        return None
    for order in "<>":
        words = struct.unpack(f"{order}10i6f3i3f2i", block[:96])
        box, mode, start, grid = words[0:3], words[3], words[4:7], words[7:10]
        if mode in BYTES_OF_MODE and all(0 < n < BOX_LIMIT_PX for n in box) and words[23] >= 0:
            pixel = words[10] / grid[0] if grid[0] > 0 else 0.0
            axes = words[16:19]
            return MapHeader(box, mode, pixel, axes if any(axes) else (1, 2, 3), start, words[23])
    return None


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Examined:
    """What was found in a downloaded map.

    Attributes
    ----------
    fault
        What is wrong with it, in words; empty where it is whole and what the entry says.
    voxels
        Digest of its numbers, unpacked: equal in maps that differ in name, packing and header alone.
    """

    fault: str
    voxels: str = ""


def largest_file_bytes(box_px: int | None) -> int:
    """Bytes that a map of this box has at most, packed or not, with an extended header of 1 MB."""
    box = BOX_LIMIT_PX if box_px is None else box_px
    return HEADER_BYTES + 4 * box**3 + (1 << 20)


def examine(path: Path, box_px: int | None, pixel_size_angst: float | None) -> Examined:
    """Read a downloaded map once, in blocks, to its end or to that which its header states.

    Parameters
    ----------
    box_px, pixel_size_angst
        Those of the entry, where known. Half-maps and masks share both with their map.
    """
    digest = xxhash.xxh3_128()
    try:
        with _opened(path) as stream:
            header = parse_header(stream.read(HEADER_BYTES))
            if header is None:
                return Examined("is not an MRC or CCP4 map")
            size = HEADER_BYTES + _skipped(stream, header.extended_bytes)
            while size <= header.file_bytes and (block := stream.read(BLOCK_BYTES)):
                digest.update(block)
                size += len(block)
    except (OSError, EOFError, zlib.error) as error:
        return Examined(f"is not a whole gzip file: {error}")
    fault = _size_fault(size, header.file_bytes) or _header_fault(header, box_px, pixel_size_angst)
    return Examined(fault, "" if fault else digest.hexdigest())


def _skipped(stream: IO[bytes], count: int) -> int:
    """Pass over bytes, and tell how many there were."""
    left = count
    while left > 0 and (block := stream.read(min(left, BLOCK_BYTES))):
        left -= len(block)
    return count - left


def _size_fault(size: int, stated: int) -> str:
    if size > stated:
        return f"has more than the {stated} bytes that its header says"
    return f"has {size} bytes, its header says {stated}" if size < stated else ""


def _header_fault(header: MapHeader, box_px: int | None, pixel_size_angst: float | None) -> str:
    if len(set(header.box_px)) != 1:
        return f"is not cubic: {'x'.join(map(str, header.box_px))}"
    if sorted(header.axes) != [1, 2, 3]:
        return f"has axes {header.axes}"
    if box_px is not None and header.box_px[0] != box_px:
        return f"is a map of {header.box_px[0]} px, the entry's has {box_px}"
    if pixel_size_angst is not None and not abs(header.pixel_size_angst - pixel_size_angst) <= 0.01 * pixel_size_angst:
        return f"has {header.pixel_size_angst:.4g} Å per pixel, the entry {pixel_size_angst:.4g}"
    return ""


def _opened(path: Path) -> IO[bytes]:
    """A file, unpacked where its first bytes say that it is packed."""
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if packed or path.name.endswith(".gz"):
        return cast(IO[bytes], gzip.open(path, "rb"))
    return path.open("rb")
