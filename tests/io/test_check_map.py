"""Maps that a run starts from."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from blush.io.check_map import MapScale, check_map
from blush.io.mrc import write_volume
from blush.io.optics import OpticsGroup

OPTICS = OpticsGroup("g", 300, 2.7, 0.1, pixel_size_angst=3.0, box_px=16)


def cube(n: int = 16) -> np.ndarray:
    return np.random.default_rng(0).random((n, n, n), dtype=np.float32)


def problems(path: Path, array: np.ndarray, pixel_size: float = 3.0, **options) -> list[str]:
    write_volume(path, array, pixel_size)
    return [str(problem) for problem in check_map(path, "reference", **options)]


def test_a_correct_map_has_no_problems(tmp_path):
    assert problems(tmp_path / "m.mrc", cube(), like=OPTICS, is_mask=True) == []


def test_a_reference_may_have_any_box_and_pixel_size(tmp_path):
    assert problems(tmp_path / "m.mrc", cube(24), 2.2) == []


def test_missing_map(tmp_path):
    found = [str(problem) for problem in check_map(tmp_path / "m.mrc", "reference")]
    assert found == [f"{tmp_path / 'm.mrc'}: file does not exist; correct the path or restore the file"]


@pytest.mark.parametrize(
    ("array", "pixel_size", "message"),
    [
        (cube()[:14], 3.0, "header: reference is not cubic (found 16 x 16 x 14); pad or crop it to a cube"),
        (cube(15), 3.0, "header: reference has an odd box (found 15 px); crop it to 14"),
        (cube(), 0.0, "header: reference has no pixel size (found 0 Å); set it in the header"),
        (np.zeros((16, 16, 16)), 3.0, "reference values: reference is constant (found 0); give a map with density"),
    ],
)
def test_maps_that_cannot_be_used(tmp_path, array, pixel_size, message):
    path = tmp_path / "m.mrc"
    assert problems(path, array, pixel_size) == [f"{path}, {message}"]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # mrcfile notices too
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite(tmp_path, value):
    array = cube()
    array[3, 4, 5] = value
    path = tmp_path / "m.mrc"
    assert problems(path, array) == [f"{path}: holds values that are not finite (found 1 voxels); make the map again"]


def test_a_mask_must_lie_in_0_to_1_and_fit_the_particles(tmp_path):
    path = tmp_path / "m.mrc"
    found = problems(path, cube(18) * 2, 2.5, like=OPTICS, is_mask=True)
    assert len(found) == 3
    assert "reference has another pixel size than the particles (found 2.5 Å); resample it to 3 Å" in found[0]
    assert "reference has another box than the particles (found 18 px); pad or crop it to 16 px" in found[1]
    assert "reference is not in [0, 1] (found" in found[2]


@pytest.mark.parametrize(
    ("box", "pixel_size", "message", "right"),
    [
        (16, 1.0, "leave where nobody sets it, the particles have 3 Å (found 1 Å)", "3 if it shows the same field"),
        (24, 1.0, "leave where nobody sets it, the particles have 3 Å (found 1 Å)", "2 if it shows the same field"),
        (16, 0.0, "has no pixel size (found 0 Å)", "3 if it shows the same field"),
        (
            16,
            2.2,
            "has the particles' box, but not their pixel size of 3 Å (found 2.2 Å)",
            "2.2 if the header is right",
        ),
    ],
)
def test_a_pixel_size_that_cannot_be_believed_has_to_be_stated(tmp_path, box, pixel_size, message, right):
    path = tmp_path / "m.mrc"
    scale = MapScale("reference_pixel_size_angst", None, OPTICS, 10)
    (found,) = problems(path, cube(box), pixel_size, scale=scale)
    assert message in found
    assert right in found
    assert "state reference_pixel_size_angst" in found
    assert problems(path, cube(box), pixel_size, scale=replace(scale, stated_angst=2.0)) == []


@pytest.mark.parametrize(("box", "pixel_size"), [(16, 3.02), (24, 2.2), (12, 4.0)])
def test_plausible_pixel_sizes_need_no_word(tmp_path, box, pixel_size):
    scale = MapScale("reference_pixel_size_angst", None, OPTICS, 10)
    assert problems(tmp_path / "m.mrc", cube(box), pixel_size, scale=scale) == []


def test_one_angstrom_is_fine_where_the_particles_have_it(tmp_path):
    scale = MapScale("reference_pixel_size_angst", None, replace(OPTICS, pixel_size_angst=1.0), 10)
    assert problems(tmp_path / "m.mrc", cube(), 1.0, scale=scale) == []
