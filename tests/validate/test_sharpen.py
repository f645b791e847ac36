"""Guinier fit and weights on maps whose decay is known."""

import math

import pytest
import torch

from blush.fourier.grid import radius_3d
from blush.validate.sharpen import (
    bfactor_weight,
    fit_guinier,
    fsc_weight,
    inverse_square_resolution,
    log_amplitudes,
    mtf_response,
)


def decaying(box, pixel, bfactor, seed=1):
    """White noise whose amplitudes decay as exp(-B k² / 4)."""
    white = torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    k = radius_3d(box) / (box * pixel)
    return torch.fft.rfftn(white) * torch.exp(-bfactor * k.square() / 4)


def test_fit_recovers_the_bfactor_of_a_map():
    box, pixel = 64, 1.5
    plot = log_amplitudes(decaying(box, pixel, 150.0), box)
    fit = fit_guinier(plot, inverse_square_resolution(box, pixel), 10.0)
    assert fit is not None
    # |F| of white noise varies by 52 % over the 2 pi s^2 numbers of a shell: about 2 Å² here, and the curvature of
    # the decay inside a shell adds as much.
    assert fit.bfactor_angst2 == pytest.approx(-150, abs=5)
    assert fit.determination > 0.99


def test_sharpening_by_the_fitted_bfactor_flattens_the_plot():
    box, pixel = 48, 1.5
    spectrum = decaying(box, pixel, 150.0)
    inverse_d2 = inverse_square_resolution(box, pixel)
    fit = fit_guinier(log_amplitudes(spectrum, box), inverse_d2, 10.0)
    frequency = radius_3d(box) / (box * pixel)
    sharpened = spectrum * bfactor_weight(frequency, fit.bfactor_angst2)
    again = fit_guinier(log_amplitudes(sharpened, box), inverse_d2, 10.0)
    assert abs(again.bfactor_angst2) < 3


def test_empty_shells_and_shells_out_of_range_have_no_say():
    x = inverse_square_resolution(20, 1.0)
    y = 1 - 7 * x
    y[8:] = -math.inf
    y[0] = 99.0
    fit = fit_guinier(y, x, 10.0)
    assert fit.slope == pytest.approx(-7)
    assert fit.intercept == pytest.approx(1)
    assert fit.determination == pytest.approx(1)
    assert (fit.lowest_angst, fit.highest_angst) == pytest.approx((10, 20 / 7))


def test_no_line_through_two_points():
    x = inverse_square_resolution(20, 1.0)
    y = torch.full_like(x, -math.inf)
    y[:4] = 0.0  # shells 2 and 3 lie beyond 10 Å
    assert fit_guinier(y, x, 10.0) is None


def test_fsc_weight_is_the_figure_of_merit_and_ends_for_good():
    curve = torch.tensor([1.0, 0.5, 0.0, 0.5], dtype=torch.float64)
    expected = [1.0, math.sqrt(2 * 0.5 / 1.5), 0.0, 0.0]
    torch.testing.assert_close(fsc_weight(curve), torch.tensor(expected, dtype=torch.float64))


def test_detector_response_is_read_at_the_pixels_of_the_micrograph():
    """At 2 Å per pixel of the map and 1 Å of the micrograph, the map's Nyquist is half the micrograph's."""
    table = torch.tensor([0.0, 0.25, 0.5], dtype=torch.float64), torch.tensor([1.0, 0.6, 0.2], dtype=torch.float64)
    response = mtf_response(torch.tensor([[0.0, 0.125], [0.25, 0.5]], dtype=torch.float64), 1.0, *table)
    torch.testing.assert_close(response, torch.tensor([[1.0, 0.8], [0.6, 0.2]], dtype=torch.float64))
