"""Volumes and stacks."""

import mrcfile
import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.mrc import map_stack, read_volume, write_stack, write_volume


@pytest.mark.parametrize("shape", [(6, 6, 6), (5, 5, 5), (4, 6, 8)])
def test_volumes_survive_and_are_valid_mrc2014(tmp_path, shape):
    path = tmp_path / "v.mrc"
    volume = np.random.default_rng(0).standard_normal(shape)
    write_volume(path, volume, 1.37)
    found, pixel_size = read_volume(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, volume.astype(np.float32))
    assert pixel_size == pytest.approx(1.37, rel=1e-6)
    assert mrcfile.validate(path)


def test_volume_bytes_repeat(tmp_path):
    volume = np.random.default_rng(0).standard_normal((8, 8, 8))
    for name in ("a.mrc", "b.mrc"):
        write_volume(tmp_path / name, volume, 2.0)
    assert (tmp_path / "a.mrc").read_bytes() == (tmp_path / "b.mrc").read_bytes()


def test_axes_are_z_y_x(tmp_path):
    volume = np.zeros((3, 4, 5), dtype=np.float32)
    volume[0, 0, 1] = 1
    write_volume(tmp_path / "v.mrc", volume, 1.0)
    raw = (tmp_path / "v.mrc").read_bytes()
    assert np.frombuffer(raw[:12], "<i4").tolist() == [5, 4, 3]
    assert np.frombuffer(raw[1024:], "<f4").nonzero()[0].tolist() == [1]


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8", "int16"])
def test_stacks_keep_their_type_and_stay_on_disk(tmp_path, dtype):
    path = tmp_path / "s.mrcs"
    images = (np.random.default_rng(0).standard_normal((3, 4, 4)) * 9).astype(dtype)
    write_stack(path, images, 2.0)
    found = map_stack(path)
    assert isinstance(found, np.memmap)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, images)


def test_a_single_image_is_a_stack_of_one(tmp_path):
    with mrcfile.new(tmp_path / "s.mrc", data=np.eye(4, dtype=np.float32)):
        pass
    assert map_stack(tmp_path / "s.mrc").shape == (1, 4, 4)


@pytest.mark.parametrize("reader", [read_volume, map_stack])
def test_missing_and_short_files_are_named(tmp_path, reader):
    with pytest.raises(BlushError, match=r"v\.mrc: file does not exist; correct the path"):
        reader(tmp_path / "v.mrc")
    write_volume(tmp_path / "v.mrc", np.ones((4, 4, 4)), 1.0)
    (tmp_path / "v.mrc").write_bytes((tmp_path / "v.mrc").read_bytes()[:-1])
    with pytest.raises(BlushError, match=r"v\.mrc"):
        reader(tmp_path / "v.mrc")


def test_two_axes_are_no_volume(tmp_path):
    with pytest.raises(ValueError, match="3 axes, not 2"):
        write_volume(tmp_path / "v.mrc", np.ones((4, 4)), 1.0)
    with mrcfile.new(tmp_path / "v.mrc", data=np.eye(4, dtype=np.float32)):
        pass
    with pytest.raises(BlushError, match=r"is not a volume \(found \(4, 4\)\)"):
        read_volume(tmp_path / "v.mrc")
