"""Updates of noise, scales and offsets: closed forms, and what stays where nothing was measured."""

import numpy as np
import pytest
import torch

from blush.fourier.packed import packed
from blush.maximization.noise import half_plane_counts, update_noise, update_scale, update_sigma_offset


@pytest.mark.parametrize("box", [2, 6, 16, 18, 50, 96])
def test_counts_are_those_of_the_pixels_compared(box):
    """The two rooms count the same half plane."""
    assert half_plane_counts(box).tolist() == torch.bincount(packed(box).shell).tolist()


def test_noise_is_the_mean_square_of_a_component():
    """Residuals of known variance: |X|^2 = 2 sigma^2 per pixel."""
    box, particles = 18, 7.0
    sigma2 = np.linspace(1, 2, 10)[None]
    residual = 2 * sigma2 * half_plane_counts(box) * particles
    np.testing.assert_allclose(update_noise(residual, np.array([particles]), np.zeros((1, 10))), sigma2, rtol=1e-14)


def test_groups_and_shells_without_data_keep_what_they_had():
    previous = np.full((2, 10), 3.0)
    residual = np.stack([half_plane_counts(18) * 8.0, np.zeros(10)])
    residual[0, 4] = 0
    found = update_noise(residual, np.array([2.0, 0.0]), previous)
    assert found[0, 4] == 3.0
    np.testing.assert_allclose(np.delete(found[0], 4), 2.0, rtol=1e-14)
    assert (found[1] == 3.0).all()


def test_a_scale_is_the_slope_of_image_on_model():
    power = np.array([4.0, 2.0, 5.0])
    true = np.array([0.9, 1.0, 1.1])
    found = update_scale(true * power, power, np.ones(3), np.array([10, 10, 10]))
    np.testing.assert_allclose(found, true, rtol=1e-14)  # their mean is 1 already


def test_scales_have_a_mean_of_one_over_particles():
    particles = np.array([30, 10, 0, 5])
    found = update_scale(np.array([2.0, 3.0, 9.0, 1.0]), np.ones(4), np.full(4, 7.0), particles)
    assert np.average(found[particles > 0], weights=particles[particles > 0]) == pytest.approx(1, rel=1e-14)
    assert found[2] == 1  # a group with no particle in this half
    assert found[1] / found[0] == pytest.approx(1.5)


def test_far_scales_are_drawn_to_the_median():
    found = update_scale(np.array([1.0, 1.0, 100.0, 0.001, 1.0]), np.ones(5), np.ones(5), np.ones(5, np.int64))
    assert found[2] / found[0] == pytest.approx(5)
    assert found[3] / found[0] == pytest.approx(1 / 5)


@pytest.mark.parametrize(
    ("cross", "power", "particles"),
    [
        ([3.0], [1.0], [9]),  # one group: its scale is the map's
        ([3.0, 2.0], [0.0, 0.0], [9, 9]),  # no shell with enough signal
        ([-3.0, -2.0], [1.0, 1.0], [9, 9]),  # nothing agrees with the model
        ([3.0, 2.0], [1.0, 1.0], [9, 0]),
    ],
)
def test_scales_stay_where_they_cannot_be_told(cross, power, particles):
    previous = np.linspace(0.8, 1.2, len(cross))
    assert np.array_equal(update_scale(np.array(cross), np.array(power), previous, np.array(particles)), previous)


def test_a_group_without_power_keeps_its_scale():
    found = update_scale(np.array([2.0, 5.0, 2.0]), np.array([1.0, 0.0, 1.0]), np.full(3, 2.0), np.ones(3, np.int64))
    np.testing.assert_allclose(found, 1.0, rtol=1e-14)  # 2, 2 and 2 over their mean


def test_the_width_of_offsets_is_per_axis_and_has_a_floor():
    assert update_sigma_offset(2 * 9.0 * 50, 50) == pytest.approx(3)
    assert update_sigma_offset(1e-3, 50) == pytest.approx(np.sqrt(2))
