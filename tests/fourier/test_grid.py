"""Shells and coordinates against loops that a reader can follow."""

import math

import pytest
import torch

from blush.fourier.grid import centred_radius, half_frequencies, shell_index_2d, shell_index_3d, signed_frequencies


@pytest.mark.parametrize("box", [2, 6, 7, 15, 16])
def test_frequencies_are_those_of_the_transform(box):
    expected = torch.fft.fftfreq(box) * box
    assert torch.equal(signed_frequencies(box), expected.round().long())
    assert torch.equal(half_frequencies(box), (torch.fft.rfftfreq(box) * box).round().long())


@pytest.mark.parametrize("box", [6, 7])
def test_shells_round_half_away_from_zero(box):
    k, x = signed_frequencies(box).tolist(), half_frequencies(box).tolist()
    expected = [[[math.floor(math.hypot(a, b, c) + 0.5) for c in x] for b in k] for a in k]
    assert shell_index_3d(box).tolist() == expected
    assert shell_index_2d(box).tolist() == expected[0]


def test_half_integer_radius_belongs_to_the_shell_above():
    # |(1.5, 2)| = 2.5 occurs on a grid of twice the spacing: (3, 4) / 2
    assert math.floor(math.hypot(3, 4) / 2 + 0.5) == 3
    assert int(shell_index_2d(16)[3, 4]) == 5


@pytest.mark.parametrize("box", [6, 7])
def test_centre_voxel_is_at_distance_zero(box):
    radius = centred_radius(box)
    assert radius.argmin() == (box // 2) * (box * box + box + 1)
    assert float(radius[0, 0, 0]) == pytest.approx(math.sqrt(3) * (box // 2))
