"""Readers of MRC files: maps, stacks and half-maps, plain and packed."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import mrcfile
import numpy as np

from blush.emdb.files import examine
from blush.errors import BlushError
from blush.io.check_map import check_map
from blush.io.half_maps import read_half_maps
from blush.io.image_digests import image_digests
from blush.io.mrc import Placement, map_stack, read_map, write_stack, write_volume
from blush.training.pairs import read_map as read_cubic_map
from fuzzing.mutate import BYTES, set_header_word, within_gzip
from fuzzing.reader import Reader, finite

BOX_PX = 6
_CHANGES = (*[set_header_word] * len(BYTES), *BYTES)
_PACKED = (within_gzip(*_CHANGES), within_gzip(*_CHANGES), *BYTES)


def _values(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def _swapped(content: bytes) -> bytes:
    """The same map in the other byte order; the words of the labels apart."""
    words = np.frombuffer(content[:208], "<u4").byteswap().tobytes()
    rest = np.frombuffer(content[1024:], "<u4").byteswap().tobytes()
    return words + content[208:212] + b"\x11\x11\0\0" + content[216:1024] + rest


def maps(folder: Path) -> list[bytes]:
    """Maps of every type that is read, in both byte orders, with axes in another order and without a stamp."""
    path = folder / "written.mrc"
    write_volume(path, _values(1, BOX_PX, BOX_PX, BOX_PX), 1.5, Placement((1.0, 2.0, 3.0), (4, 5, 6)))
    plain = path.read_bytes()
    found = [plain, _swapped(plain), plain[:208] + bytes(8) + plain[216:]]
    found.append(plain[:64] + struct.pack("<3i", 3, 1, 2) + plain[76:])
    found.append(plain[:92] + struct.pack("<i", 80) + plain[96:1024] + bytes(80) + plain[1024:])
    for kind in (np.int8, np.int16, np.uint16, np.float16):
        with mrcfile.new(path, data=np.abs(9 * _values(2, 4, 4, 4)).astype(kind), overwrite=True) as mrc:
            mrc.voxel_size = 2.0
            mrc.header.label[:] = b""
        found.append(path.read_bytes())
    return found


def packed_maps(folder: Path) -> list[bytes]:
    """The same, packed."""
    return [gzip.compress(content, 1, mtime=0) for content in maps(folder)]


def stacks(folder: Path) -> list[bytes]:
    """Stacks of three types."""
    path, found = folder / "written.mrcs", []
    for kind in (np.float32, np.float16, np.int16):
        write_stack(path, (9 * _values(3, 3, BOX_PX, BOX_PX)).astype(kind), 2.0)
        found.append(path.read_bytes())
    return found


def _map(path: Path) -> None:
    """A map is finite float32 with a plausible placement; written again it is the same map."""
    problems = check_map(path, "map")
    try:
        found = read_map(path)
    except BlushError as error:
        assert problems, "read_map refuses what check_map accepts"
        raise error
    assert found.array.dtype == np.float32
    assert found.array.ndim == 3
    assert found.array.size
    assert finite(found.array, np.array([found.pixel_size_angst, *found.placement.origin_angst]))
    again = path.with_name("again.mrc")
    write_volume(again, found.array, found.pixel_size_angst, found.placement)
    same = read_map(again)
    assert np.array_equal(same.array, found.array), "other values when written and read again"
    assert same.placement == found.placement, "another placement when written and read again"
    error = abs(same.pixel_size_angst - found.pixel_size_angst)
    assert error <= 1e-5 * abs(found.pixel_size_angst), "another pixel size when written and read again"


def _stack(path: Path) -> None:
    images = map_stack(path)
    assert images.ndim == 3
    assert min(images.shape) > 0
    assert len(image_digests(images)) == len(images)


def _half_maps(folder: Path) -> list[bytes]:
    for seed, name in enumerate(("half2.mrc", "mask.mrc"), start=7):
        values = _values(seed, BOX_PX, BOX_PX, BOX_PX)
        write_volume(folder / name, values if name.startswith("half") else (values > 0).astype(np.float32), 1.5)
    return maps(folder)[:5]


def _pair(path: Path) -> None:
    found = read_half_maps(path, path.with_name("half2.mrc"), path.with_name("mask.mrc"))
    assert all(half.shape == (BOX_PX,) * 3 and finite(half.numpy()) for half in found.halves)
    assert found.pixel_size_angst > 0


def _cubic(path: Path) -> None:
    array, pixel = read_cubic_map(path)
    assert len(set(array.shape)) == 1
    assert finite(array, np.array([pixel]))


def _downloaded(path: Path) -> None:
    """What is examined as whole can be read, or is refused in words."""
    found = examine(path, BOX_PX, 1.5)
    if found.fault:
        raise BlushError(found.fault)
    assert len(found.voxels) == 32


def _archived(folder: Path) -> list[bytes]:
    return [*packed_maps(folder)[:5], *maps(folder)[:3]]


READERS = (
    Reader("map", "case.mrc", maps, _map, _CHANGES, 10, hostile=("mrc",)),
    Reader("map_packed", "case.mrc.gz", packed_maps, _map, _PACKED, 5),
    Reader("stack", "case.mrcs", stacks, _stack, _CHANGES, 50, hostile=("mrc",)),
    Reader("half_maps", "half1.mrc", _half_maps, _pair, _CHANGES, 6, hostile=("mrc",)),
    Reader("training_map", "case.map.gz", packed_maps, _cubic, _PACKED, 15),
    Reader("downloaded_map", "case.map", _archived, _downloaded, (*_PACKED, *_CHANGES), 50, names_file=False),
)
