"""Figures of directions: cells of the sphere are where their directions are."""

import re

import numpy as np
import pytest

from blush.report import direction_figures


@pytest.fixture
def curves():
    """Views of one cell; best along x, worst along z."""
    counts = np.zeros((30, 60), dtype=np.int64)
    counts[7, 45] = 3
    axes = np.eye(3)
    frequency = np.arange(9) / 90
    fsc = np.stack([np.linspace(1, 0, 9), np.linspace(1, -0.1, 9), np.linspace(1, -0.2, 9)])
    counted = np.broadcast_to(np.arange(9) > 1, fsc.shape)
    return {"axes": axes, "fsc": fsc, "counted": counted, "frequency": frequency, "view_counts": counts,
            "resolution_angst": np.array([10.0, 12.0, 20.0])}  # fmt: skip


def test_the_sphere_shows_one_cell_of_views_and_every_direction(curves):
    drawn = direction_figures.sphere(curves)
    assert drawn.count("<path") > 1800  # each cell of the right map, and one of the left
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert {"rot", "tilt", "30°", "150°", "−120°", "60°"} <= set(texts)
    assert direction_figures.sphere(curves) == drawn


def test_curves_begin_where_every_cone_counts(curves):
    drawn = direction_figures.fsc_by_direction(curves)
    assert "worst direction" in drawn
    assert "median direction" in drawn
    assert "nan" not in drawn.lower().replace("nanometre", "")


def test_no_line_is_drawn_through_few_numbers():
    one = {"particles": [100], "resolution_angst": [5.0], "bfactor_angst2": None}
    assert direction_figures.by_number(one) is None
    more = {"particles": [100, 200], "resolution_angst": [6.0, 5.0], "bfactor_angst2": None}
    assert "Particles" in direction_figures.by_number(more)
