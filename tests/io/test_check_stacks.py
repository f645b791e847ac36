"""Headers: sizes, byte order, truncation, modes and pixel sizes."""

import mrcfile
import numpy as np
import pytest

from blush.io.mrc import map_stack


def overwrite(path, offset, content):
    raw = bytearray(path.read_bytes())
    raw[offset : offset + len(content)] = content
    path.write_bytes(raw)


@pytest.mark.parametrize("missing", [1, 16 * 16 * 4, 4 * 16 * 16 * 4 + 10])
def test_truncated_stack(project, run_check, missing):
    project.write()
    path = project.root / "second.mrcs"
    path.write_bytes(path.read_bytes()[:-missing])
    status, printed = run_check(project.star)
    assert status == 2
    assert str(path) in printed
    if missing < 4096:
        assert f"{path}: is truncated: 5120 bytes expected (found {5120 - missing} bytes); copy or extract" in printed
    else:
        assert "is 1014 bytes long, shorter than the 1024 bytes of an MRC header; write the file again" in printed


def test_garbage_machine_stamp(project, run_check):
    project.write()
    overwrite(project.root / "first.mrcs", 212, b"\x99\x98\x97\x96")
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{project.root / 'first.mrcs'}: has the unknown machine stamp 99 98 97 96" in printed
    assert "write the file again as MRC2014" in printed


def test_byte_swapped_header(project, run_check):
    project.write()
    path = project.root / "first.mrcs"
    overwrite(path, 212, b"\x11\x11\x00\x00")
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{path}: is byte-swapped: the machine stamp 11 11 00 00 contradicts its numbers; write the file" in printed


def test_file_that_is_no_mrc(project, run_check):
    project.write()
    path = project.root / "first.mrcs"
    path.write_bytes(b"\xff" * 5120)
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{path}: is not an MRC file: no stamp, and its numbers make no sense" in printed


def test_big_endian_stacks_are_read(project, run_check):
    project.write()
    expected = project.stacks["first.mrcs"]
    with mrcfile.new(project.root / "first.mrcs", data=expected.astype(">f4"), overwrite=True) as mrc:
        mrc.set_image_stack()
        mrc.voxel_size = 3.0
        assert mrc.header.mode.dtype.byteorder == ">"
    assert run_check(project.star)[0] == 0
    np.testing.assert_array_equal(map_stack(project.root / "first.mrcs"), expected)


@pytest.mark.parametrize(("dtype", "mode"), [("float16", 12), ("int16", 1), ("int8", 0), ("uint16", 6)])
def test_other_modes_are_accepted(project, run_check, dtype, mode):
    scaled = {name: images * (1 if dtype == "float16" else 20) for name, images in project.stacks.items()}
    offset = 100 if dtype == "uint16" else 0
    project.stacks = {
        name: np.clip(images + offset, -120, 250 if offset else 120).astype(dtype) for name, images in scaled.items()
    }
    status, printed = run_check(project.write())
    assert status == 0, printed
    stack = map_stack(project.root / "first.mrcs")
    assert stack.dtype == dtype
    np.testing.assert_array_equal(stack, project.stacks["first.mrcs"])
    with mrcfile.open(project.root / "first.mrcs", header_only=True) as mrc:
        assert mrc.header.mode == mode


def test_complex_mode_is_refused(project, run_check):
    project.write()
    overwrite(project.root / "first.mrcs", 12, (4).to_bytes(4, "little"))
    status, printed = run_check(project.star)
    assert status == 2
    assert f"{project.root / 'first.mrcs'}: has mode 4, complex numbers; images and maps are real" in printed


def test_non_square_images(project, run_check):
    project.stacks["second.mrcs"] = np.random.default_rng(0).standard_normal((4, 14, 16)).astype(np.float32)
    status, printed = run_check(project.write())
    assert status == 2
    path = project.root / "second.mrcs"
    assert f"{path}, header: images are not square (found 16 x 14 px); extract square images" in printed


def test_odd_box(project, run_check):
    for name in project.stacks:
        project.stacks[name] = np.random.default_rng(0).standard_normal((4, 15, 15)).astype(np.float32)
    project.optics["rlnImageSize"] = np.array([15])
    status, printed = run_check(project.write())
    assert status == 2
    path = project.root / "first.mrcs"
    assert f"{path}, header: box is odd (found 15 px); crop to 14 px or extract again with an even box" in printed


def test_box_that_differs_from_the_optics(project, run_check):
    project.optics["rlnImageSize"] = np.array([18])
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.root / 'first.mrcs'}, header: box differs from rlnImageSize of 'opticsGroup1' "
        "(found 16 px instead of 18 px); correct rlnImageSize or extract again" in printed
    )


def test_pixel_size_that_differs_from_the_header(project, run_check):
    project.pixel_size = 3.04
    status, printed = run_check(project.write())
    assert status == 2
    assert (
        f"{project.root / 'first.mrcs'}, header: pixel size differs from rlnImagePixelSize of 'opticsGroup1' "
        "(found 3.04 Å instead of 3 Å); correct rlnImagePixelSize" in printed
    )


@pytest.mark.parametrize("pixel_size", [0.0, 1.0, 2.98, 3.02])
def test_headers_within_1_percent_or_without_a_pixel_size_are_fine(project, run_check, pixel_size):
    project.pixel_size = pixel_size
    assert run_check(project.write())[0] == 0


def test_old_headers_without_the_map_stamp(project, run_check):
    project.write()
    overwrite(project.root / "first.mrcs", 208, bytes(8))
    assert run_check(project.star)[0] == 0
    np.testing.assert_array_equal(map_stack(project.root / "first.mrcs"), project.stacks["first.mrcs"])


def test_extended_headers_are_skipped(project):
    project.write()
    path = project.root / "first.mrcs"
    with mrcfile.open(path, mode="r+") as mrc:
        mrc.set_extended_header(np.frombuffer(b"x" * 80, dtype="V80"))
    np.testing.assert_array_equal(map_stack(path), project.stacks["first.mrcs"])
