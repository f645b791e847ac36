"""Spectral trailing: where references are cut, and that nothing of them is left beyond."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import radius_3d
from blush.regularise.trailing import cross_over_shell, cut_shell, pass_below, trail


@pytest.mark.parametrize(
    ("fsc", "shells", "expected"),
    [
        ([1, 1, 0.9, 0.5, 0.2, 0.1, 0.0], 2, 3),  # first below 1/7 is shell 5
        ([1, 1, 0.9, 0.5, 0.2, 0.1, 0.0], 0, 5),
        ([1, 1, 0.1, 0.9, 0.9, 0.9, 0.9], 2, 1),  # the first drop counts, and at least shell 1 is left
        ([0, 1, 0.9, 0.9, 0.9, 0.1, 0.0], 2, 3),  # the origin says nothing
        ([1, 1, 1, 1, 1, 1, 1], 2, 5),  # never below: counts as past the last shell
        ([1, 0, 0, 0, 0, 0, 0], 2, 1),
        ([1, 1, 1 / 7, 0.1], 1, 2),  # at the limit, 1/7 of Kimanius et al. 2024, is not below it
    ],
)
def test_the_cut_is_behind_the_first_shell_below_a_seventh(fsc, shells, expected):
    assert cut_shell(np.array(fsc, dtype=float), shells) == expected


@pytest.mark.parametrize(
    ("box", "pixel", "nyquist", "expected"),
    [
        (24, 3.0, 9.0, 6),  # shell 8 less two
        (24, 3.0, 6.0, None),  # as fine as pixels of 3 Å
        (24, 3.0, 6.1, 9),  # shell 11.8
        (24, 3.0, None, None),
        (100, 1.0, 3.0, 31),
        (24, 3.0, 40.0, 1),
    ],
)
def test_the_wiener_map_takes_over_two_shells_below_the_method_s_own_limit(box, pixel, nyquist, expected):
    assert cross_over_shell(box, pixel, nyquist) == expected


@pytest.mark.parametrize("box", [16, 18, 17])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_frequencies_pass_below_the_cut_by_half_at_it_and_not_beyond(box, dtype):
    volume = torch.randn(box, box, box, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    cut = 4
    before, after = torch.fft.rfftn(volume), torch.fft.rfftn(pass_below(volume, cut))
    radius = radius_3d(box)
    eps = 20 * torch.finfo(dtype).eps * before.abs().max()
    assert (after - before)[radius <= cut - 1].abs().max() < eps
    assert (after - before / 2)[radius == cut].abs().max() < eps
    assert after[radius >= cut + 1].abs().max() < eps


def test_a_second_cut_changes_nothing_below_the_first():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    once, twice = pass_below(volume, 4), pass_below(pass_below(volume, 4), 7)
    torch.testing.assert_close(twice, once, rtol=0, atol=1e-14)
    assert float(power_spectrum(once)[6:].max()) < 1e-28


def test_a_cut_below_the_cross_over_is_a_cut_alone():
    volume = torch.randn(16, 16, 16, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    assert torch.equal(trail(volume, 4, 6, -volume, 8.0), pass_below(volume, 4))


def test_denoised_and_wiener_maps_share_the_spectrum_at_the_cross_over():
    """With the same map on both sides, and a sphere that holds all of it, nothing changes."""
    axis = (torch.arange(24, dtype=torch.float64) - 12) ** 2
    volume = torch.exp(-(axis[:, None, None] + axis[:, None] + axis) / 4)
    torch.testing.assert_close(trail(volume, 12, 6, volume, 10.0), volume, rtol=0, atol=1e-9)


def test_outside_of_the_particle_nothing_is_filled_in():
    """A Wiener map that lies outside the sphere and its edge of 5 px gives nothing to the reference."""
    axis = (torch.arange(24, dtype=torch.float64) - 12) ** 2
    radius = (axis[:, None, None] + axis[:, None] + axis).sqrt()
    noise = torch.randn(24, 24, 24, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    outside = torch.where(radius > 9.01, noise, 0.0)
    assert trail(torch.zeros_like(noise), 12, 4, outside, 4.0).abs().max() < 1e-13
    inside = torch.where(radius < 3.99, noise, 0.0)
    spectrum = torch.fft.rfftn(trail(torch.zeros_like(noise), 12, 4, inside, 4.0))
    beyond = radius_3d(24) > 5
    torch.testing.assert_close(spectrum[beyond], torch.fft.rfftn(inside)[beyond], rtol=0, atol=1e-12)
