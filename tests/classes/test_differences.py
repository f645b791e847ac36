"""Differences of classes: amplitudes are matched, small classes have none."""

import numpy as np
import pytest
import torch

from blush.classes.differences import differences
from blush.classes.given_poses import Divided
from blush.classes.halves import Half


def half(maps, share):
    posterior = np.zeros((1, len(maps)))
    return Half(np.arange(1), None, Divided(posterior, np.array(share), maps, torch.ones(1, 9), 8))


def random_map(seed):
    return torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_difference_of_amplitude_alone_is_none():
    common = random_map(1)
    (found,) = differences((half([common, 0.5 * common], [0.5, 0.5]), half([common, 0.7 * common], [0.5, 0.5])))
    assert float(found.volume.abs().max()) < 1e-6


def test_halves_agree_on_what_both_show():
    """Each difference has half a unit of noise beside the part: 1 / (1 + 0.25) of the power is common."""
    common, part = 3 * random_map(1), random_map(2)
    first = half([common + part + 0.5 * random_map(3), common], [0.5, 0.5])
    second = half([common + part + 0.5 * random_map(4), common], [0.4, 0.6])
    (found,) = differences((first, second))
    assert (found.classes, found.label) == ((0, 1), "1 - 2")
    assert found.correlation == pytest.approx(0.8, abs=0.03)
    assert np.mean(found.fsc[3:]) == pytest.approx(0.8, abs=0.05)


def test_differences_of_noise_do_not_agree_and_small_classes_have_none():
    maps = [[random_map(3 * h + k) for k in range(3)] for h in range(2)]
    found = differences((half(maps[0], [0.5, 0.485, 0.015]), half(maps[1], [0.5, 0.4, 0.1])))
    assert [one.classes for one in found] == [(0, 1)]
    assert abs(found[0].correlation) < 0.06
