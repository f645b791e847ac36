"""Filters and resampling: closed forms on plane waves and Gaussians."""

import math

import pytest
import torch

from blush.fourier.filter import low_pass, multiply_shells, raised_cosine, resize_volume
from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import centred_radius


def wave(box, cycles):
    x = torch.arange(box, dtype=torch.float64) - box // 2
    return torch.cos(2 * math.pi * cycles / box * x).expand(box, box, box).clone()


def gaussian(box, pixel, sigma_angst):
    return torch.exp(-((centred_radius(box) * pixel) ** 2) / (2 * sigma_angst**2))


def test_raised_cosine_is_one_half_at_its_centre_and_flat_outside():
    radius = torch.tensor([0.0, 4.0, 4.5, 5.0, 5.5, 6.0, 9.0])
    half = math.cos(math.pi / 4) / 2
    torch.testing.assert_close(raised_cosine(radius, 5, 2), torch.tensor([1, 1, 0.5 + half, 0.5, 0.5 - half, 0, 0]))
    assert raised_cosine(radius, 5, 0).tolist() == [1, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize("box", [16, 17])
@pytest.mark.parametrize(("cycles", "gain"), [(3, 1.0), (4, 0.5), (5, 0.0)])
def test_low_pass_weighs_a_wave_by_its_frequency(box, cycles, gain):
    volume = wave(box, cycles)
    filtered = low_pass(volume, box * 1.5 / 4, 1.5)
    torch.testing.assert_close(filtered, gain * volume, atol=1e-12, rtol=0)


@pytest.mark.parametrize("box", [8, 9])
def test_multiply_shells_changes_each_shell_by_its_factor(box):
    volume = torch.randn(box, box, box, dtype=torch.float64)
    factor = torch.arange(1, box // 2 + 2, dtype=torch.float64)
    expected = power_spectrum(volume) * factor**2
    torch.testing.assert_close(power_spectrum(multiply_shells(volume, factor)), expected)


@pytest.mark.parametrize("box", [8, 9])
def test_resizing_to_the_same_grid_changes_nothing(box):
    volume = torch.randn(box, box, box, dtype=torch.float64)
    torch.testing.assert_close(resize_volume(volume, 1.3, box, 1.3), volume, atol=1e-12, rtol=0)


@pytest.mark.parametrize("box", [8, 9])
@pytest.mark.parametrize("factor", [2, 3])
def test_finer_and_back_is_the_identity_and_keeps_the_samples(box, factor):
    volume = torch.randn(box, box, box, dtype=torch.float64)
    fine = resize_volume(volume, 1.0, factor * box, 1 / factor)
    start = factor * box // 2 - factor * (box // 2)
    torch.testing.assert_close(fine[(slice(start, None, factor),) * 3], volume, atol=1e-12, rtol=0)
    torch.testing.assert_close(resize_volume(fine, 1 / factor, box, 1.0), volume, atol=1e-12, rtol=0)


def test_halving_is_a_crop_of_the_transform():
    volume = low_pass(torch.randn(16, 16, 16, dtype=torch.float64), 16 / 2.5, 1.0, edge_shells=1)
    spectrum = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(volume)))
    crop = torch.fft.ifftshift(spectrum[4:12, 4:12, 4:12])
    expected = torch.fft.fftshift(torch.fft.ifftn(crop).real) / 8
    torch.testing.assert_close(resize_volume(volume, 1.0, 8, 2.0), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize(("box_from", "box_to"), [(32, 40), (33, 30), (32, 31)])
@pytest.mark.parametrize("pixel_to", [1.77, 2.0, 2.313])
def test_any_pixel_size_samples_the_same_density(box_from, box_to, pixel_to):
    """A Gaussian of sigma 5 Å is band-limited and zero at the border to exp(-18) at these pixel sizes."""
    sigma = 5.0
    resized = resize_volume(gaussian(box_from, 2.0, sigma), 2.0, box_to, pixel_to)
    distance = centred_radius(box_to) * pixel_to
    inside = distance < 28
    torch.testing.assert_close(resized[inside], gaussian(box_to, pixel_to, sigma)[inside], atol=3e-6, rtol=0)


def test_background_continues_beyond_the_old_box():
    volume = 5 + gaussian(16, 2.0, 3.0)
    resized = resize_volume(volume, 2.0, 32, 2.0)
    border = float(resize_volume(volume, 2.0, 16, 2.0)[0].mean())
    assert float(resized[0, 0, 0]) == pytest.approx(border, abs=1e-3)
    torch.testing.assert_close(resized[8:24, 8:24, 8:24], volume)


def test_dtype_is_kept():
    assert resize_volume(torch.ones(4, 4, 4), 1, 6, 0.7).dtype == torch.float32
    assert low_pass(torch.ones(4, 4, 4), 4, 1).dtype == torch.float32
