"""A resolution is limited by the pixel size where its curve has not fallen by the last shell."""

import math

import pytest
import torch

from blush.fourier.fsc import resolution_at
from blush.fourier.limits import limit_note, limited_by, nyquist_angst, told

PIXEL_ANGST = 3.54


@pytest.mark.parametrize(("box", "expected"), [(64, 7.08), (63, 63 * 3.54 / 31)])
def test_nyquist_is_the_last_shell(box, expected):
    assert nyquist_angst(box, PIXEL_ANGST) == pytest.approx(expected)


@pytest.mark.parametrize("box", [64, 63])
def test_a_curve_that_never_falls_is_limited_by_the_pixel_size_and_one_that_falls_at_the_end_is_not(box):
    curve = torch.ones(box // 2 + 1)
    never = resolution_at(curve, 0.143, box, PIXEL_ANGST)
    assert limited_by(never, box, PIXEL_ANGST) == "pixel size"
    curve[-1] = 0.1
    late = resolution_at(curve, 0.143, box, PIXEL_ANGST)
    assert limited_by(late, box, PIXEL_ANGST) == "signal"
    assert limit_note(late, box, PIXEL_ANGST) == ""


def test_what_is_told():
    assert told(7.08, 64, PIXEL_ANGST) == "7.08 Å, limited by the pixel size (Nyquist 7.08 Å)"
    assert told(8.7, 64, PIXEL_ANGST) == "8.70 Å"
    for nothing in (None, math.inf):
        assert told(nothing, 64, PIXEL_ANGST) == "not resolved"
        assert limited_by(nothing, 64, PIXEL_ANGST) is None
