"""`blush helix-mask`: what it covers, and what it refuses."""

import numpy as np
import pytest
from typer.testing import CliRunner

from blush.cli.main import app
from blush.errors import BlushError
from blush.io.mrc import read_volume, write_volume


def made(folder, *options: object, box: tuple[int, int, int] = (40, 40, 40)) -> np.ndarray:
    write_volume(folder / "map.mrc", np.zeros(box, np.float32), 2.0)
    asked = ["helix-mask", str(folder / "mask.mrc"), "--like", str(folder / "map.mrc"), *map(str, options)]
    told = CliRunner().invoke(app, asked)
    if told.exception is not None:
        raise told.exception
    values, pixel = read_volume(folder / "mask.mrc")
    assert pixel == pytest.approx(2.0)
    return values


def test_the_mask_is_one_in_the_central_part_of_the_tube(tmp_path):
    """20 Å wide is 5 px from the axis; a fifth of 40 sections is 4 from the middle; edges are 3 px wide."""
    mask = made(tmp_path, "--diameter", 20, "--central-fraction", 0.2, "--edge", 3)
    z, y, x = np.indices(mask.shape) - 20
    radius, height = np.hypot(x, y), np.abs(z)
    assert (mask[(radius <= 5) & (height <= 4)] == 1).all()
    assert not mask[(radius >= 8) | (height >= 7)].any()
    between = mask[20, 20, 26]
    assert 0 < between < 1
    hollow = made(tmp_path, "--diameter", 20, "--inner-diameter", 12, "--central-fraction", 0.2, "--edge", 1)
    assert not hollow[radius < 2].any()


@pytest.mark.parametrize(
    ("options", "box", "message"),
    [
        (("--diameter", 73), (40, 40, 40), r"--diameter.*does not fit \(found 73\); .* at most 72 Å"),
        (("--diameter", 20, "--inner-diameter", 20), (40, 40, 40), "more than the inner diameter"),
        (("--diameter", 20, "--central-fraction", 1), (40, 40, 40), "is not a part of the box"),
        (("--diameter", 20), (40, 40, 38), "is not a cube of an even box"),
        (("--diameter", 20), (41, 41, 41), "is not a cube of an even box"),
    ],
)
def test_what_makes_no_mask_is_refused(tmp_path, options, box, message):
    with pytest.raises(BlushError, match=message):
        made(tmp_path, *options, box=box)
    assert not (tmp_path / "mask.mrc").exists()
