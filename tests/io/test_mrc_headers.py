"""Maps as other programs write them, and headers that lie: every kind is read right, or refused by name."""

import gzip
import itertools
import struct
import time
import tracemalloc
import warnings

import mrcfile
import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.mrc import Placement, map_stack, read_map, read_volume, write_stack, write_volume

WORDS = {"nx": 0, "mode": 12, "mx": 28, "xlen": 40, "mapc": 64, "ispg": 88, "nsymbt": 92, "imod": 152, "flags": 156}


def density() -> np.ndarray:
    """No two axes alike."""
    return np.random.default_rng(3).standard_normal((4, 6, 8)).astype(np.float32)


def stored(path, array, pixel_size=2.0, **words):
    """Written by the field's own library, then words of the header replaced."""
    with mrcfile.new(path, data=array, overwrite=True) as file:
        file.voxel_size = pixel_size
    for name, value in words.items():
        overwrite(path, WORDS[name], struct.pack("<f" if isinstance(value, float) else "<i", value))
    return path


def overwrite(path, offset, value):
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(value)] = value
    path.write_bytes(raw)


@pytest.mark.parametrize("axes", list(itertools.permutations((1, 2, 3))))
def test_axes_in_any_order_come_out_as_z_y_x(tmp_path, axes):
    path = tmp_path / "v.mrc"
    held = axes[::-1]  # sections, rows, columns
    with mrcfile.new(path) as file:
        file.set_data(np.ascontiguousarray(density().transpose([3 - axis for axis in held])))
        file.voxel_size = 2.0
        file.header.mapc, file.header.mapr, file.header.maps = axes
        file.header.nxstart, file.header.nystart, file.header.nzstart = (10 * axis for axis in axes)
    found = read_map(path)
    np.testing.assert_array_equal(found.array, density())
    assert found.placement.start_px == (10, 20, 30)


def test_axes_that_are_no_order_are_refused(tmp_path):
    path = stored(tmp_path / "v.mrc", density(), mapc=2)
    with pytest.raises(BlushError, match=r"v\.mrc: has no order of axes \(found 2, 2, 3\)"):
        read_volume(path)


def test_origin_and_start_survive(tmp_path):
    placement = Placement((1.5, -2.5, 3.25), (-4, 5, 6))
    write_volume(tmp_path / "v.mrc", density(), 2.0, placement)
    assert read_map(tmp_path / "v.mrc").placement == placement
    assert placement.finer(2).start_px == (-8, 10, 12)
    with mrcfile.open(tmp_path / "v.mrc") as file:
        assert float(file.header.origin.y) == -2.5
        assert int(file.header.nzstart) == 6


@pytest.mark.parametrize("dtype", ["i1", "<i2", ">i2", "<u2", "<f2", ">f2", "<f4", ">f4"])
def test_every_real_type_in_either_byte_order(tmp_path, dtype):
    values = (50 * density()).astype(dtype)
    with mrcfile.new(tmp_path / "v.mrc", data=values) as file:
        file.voxel_size = 2.0
    np.testing.assert_array_equal(read_volume(tmp_path / "v.mrc")[0], values.astype(np.float32))


@pytest.mark.parametrize(("flags", "expected"), [(0, 200.0), (1, -56.0)])
def test_bytes_are_unsigned_where_imod_says_so(tmp_path, flags, expected):
    values = np.full((4, 4, 4), 200, dtype=np.uint8).view(np.int8)
    path = stored(tmp_path / "v.mrc", values, imod=1146047817, flags=flags)
    assert set(read_volume(path)[0].ravel()) == {expected}
    assert int(map_stack(path)[0, 0, 0]) == int(expected)


@pytest.mark.parametrize("mode", [3, 4])
def test_complex_maps_are_refused(tmp_path, mode):
    with pytest.raises(BlushError, match=rf"v\.mrc: has mode {mode}, complex numbers"):
        read_volume(stored(tmp_path / "v.mrc", density(), mode=mode))


def packed(path, raw):
    path.write_bytes(gzip.compress(raw))
    return path


def test_packed_maps_are_read_and_packed_stacks_refused(tmp_path):
    write_volume(tmp_path / "v.mrc", density(), 2.0)
    path = packed(tmp_path / "v.map.gz", (tmp_path / "v.mrc").read_bytes())
    np.testing.assert_array_equal(read_volume(path)[0], density())
    with pytest.raises(BlushError, match=r"v\.map\.gz: is a packed stack; unpack it"):
        map_stack(path)


@pytest.mark.parametrize("keep", [2, 300, -20])
def test_packed_maps_that_end_early_are_refused(tmp_path, keep):
    write_volume(tmp_path / "v.mrc", density(), 2.0)
    path = packed(tmp_path / "v.map.gz", (tmp_path / "v.mrc").read_bytes())
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BlushError, match=r"v\.map\.gz: is (truncated|not a complete gzip file)"):
        read_volume(path)


def test_voxels_that_are_no_cubes_are_refused_with_their_sides(tmp_path):
    path = stored(tmp_path / "v.mrc", density(), pixel_size=(2.0, 2.0, 3.0))
    with pytest.raises(BlushError, match=r"v\.mrc: has voxels that are no cubes \(found 2 x 2 x 3 Å\); resample"):
        read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(tmp_path, value):
    array = density()
    array[1, 2, 3] = value
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        write_volume(tmp_path / "v.mrc", array, 2.0)
    with pytest.raises(BlushError, match=r"v\.mrc: holds values that are not finite \(found 1 voxels\)"):
        read_volume(tmp_path / "v.mrc")


@pytest.mark.parametrize("pack", [False, True])
@pytest.mark.parametrize(
    "words",
    [
        {"nsymbt": 2**31 - 1},
        {"nsymbt": -(2**31)},
        {"nx": 2**29},
        {"nx": -(2**31)},
        {"nx": 0},
        {"mode": 5},
    ],
)
@pytest.mark.parametrize("read", [read_volume, map_stack])
def test_headers_that_lie_are_refused_at_once_and_without_memory(tmp_path, read, words, pack):
    path = stored(tmp_path / "v.mrc", density(), **words)
    if pack:
        path = packed(tmp_path / "v.mrc.gz", path.read_bytes())
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(BlushError, match=path.name):
        read(path)
    assert time.perf_counter() - began < 1
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


def test_several_volumes_are_no_map(tmp_path):
    with pytest.raises(BlushError, match=r"is not a volume \(found several volumes\)"):
        read_volume(stored(tmp_path / "v.mrc", density(), ispg=401))


@pytest.mark.parametrize("name", ["a\0b.mrc", "x" * 300 + ".mrc", "y/" * 3000 + "z.mrc"])
@pytest.mark.parametrize("read", [read_volume, map_stack])
def test_names_that_no_file_can_have_are_refused(tmp_path, read, name):
    with pytest.raises(BlushError, match=r"cannot be opened: .*; correct the name"):
        read(tmp_path / name)


@pytest.mark.parametrize("read", [read_volume, map_stack])
def test_folders_are_refused(tmp_path, read):
    with pytest.raises(BlushError, match="is not a file but a folder; give the path of a file"):
        read(tmp_path)


def test_a_stack_is_not_turned(tmp_path):
    images = density()
    write_stack(tmp_path / "s.mrcs", images, 2.0)
    np.testing.assert_array_equal(map_stack(tmp_path / "s.mrcs"), images)
