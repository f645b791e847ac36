"""Butterworth filters and bands: closed forms, and that bands add up."""

import math
from itertools import pairwise

import pytest
import torch

from blush.fourier.grid import radius_3d
from blush.regularise.bands import Band, Radial, butterworth, core_of, measured


def noise(seed: int, box: int = 16, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_the_filter_halves_power_at_its_cut_off_and_falls_by_order_8():
    f = torch.tensor([0.0, 0.1, 0.2, 0.4], dtype=torch.float64)
    expected = [1, 1 / math.sqrt(1 + 2.0**-16), 1 / math.sqrt(2), 1 / math.sqrt(1 + 2.0**16)]
    torch.testing.assert_close(butterworth(f, 0.2), torch.tensor(expected, dtype=torch.float64), rtol=1e-14, atol=0)


def test_nothing_passes_a_cut_off_of_zero():
    assert torch.equal(butterworth(torch.tensor([0.0, 0.1]), 0.0), torch.zeros(2))


@pytest.mark.parametrize("box", [12, 15, 22])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_table_filters_as_the_same_function_of_the_radius(box, dtype):
    volume = noise(1, box, dtype)
    radial = Radial.like(volume)
    found = radial.filtered(torch.fft.rfftn(volume), butterworth(radial.frequency, 0.2))
    weight = butterworth(radius_3d(box) / box, 0.2).to(dtype)
    expected = torch.fft.irfftn(torch.fft.rfftn(volume) * weight, s=volume.shape)
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected, rtol=0, atol=20 * torch.finfo(dtype).eps * float(volume.abs().max()))


def test_bands_add_up_to_the_filter_of_the_last_cut_off():
    f = torch.linspace(0, 0.8, 50, dtype=torch.float64)
    edges = [0.0, 0.025, 0.1, 0.13, 0.4]
    bands = [Band(low, high, 1.0, 2.0) for low, high in pairwise(edges)]
    torch.testing.assert_close(sum(band.gain(f) for band in bands), butterworth(f, 0.4), rtol=0, atol=1e-15)


def test_signal_and_flattening_follow_from_sum_and_difference():
    """With a common part of variance 9 and parts of opposite sign of variance 1: n = 4, p = 36."""
    sign = torch.ones(4, 4, 4, dtype=torch.float64)
    sign[::2] = -1
    band = measured(0.1, 0.16, 3 + sign, 3 - sign, torch.ones(4, 4, 4, dtype=torch.bool))
    assert (band.noise, band.power) == (4, 36)
    assert band.signal == pytest.approx(1 - 4 / 36)
    assert band.width == pytest.approx(0.06)
    assert band.flattening == pytest.approx(0.06 / 6)


def test_a_flattened_band_has_the_power_of_its_width():
    first, second = noise(1), noise(2)
    core = torch.ones_like(first, dtype=torch.bool)
    band = measured(0.1, 0.2, first, second, core)
    again = measured(0.1, 0.2, first * band.flattening, second * band.flattening, core)
    assert again.power == pytest.approx(band.width**2)


def test_statistics_are_taken_inside_the_mask_alone():
    mask = torch.zeros(4, 4, 4, dtype=torch.float64)
    mask[1, 1, 1], mask[1, 1, 2], mask[2, 2, 2] = 1, 0.995, 0.9
    core = core_of(mask)
    assert int(core.sum()) == 2
    values = torch.full_like(mask, 100.0)
    values[core] = 1.0
    assert measured(0, 0.1, values, values, core).power == 4


def test_maps_without_power_and_masks_without_a_core_are_refused():
    empty = torch.zeros(4, 4, 4)
    with pytest.raises(ValueError, match=r"no power between 0.1 and 0.2 cycles per voxel"):
        measured(0.1, 0.2, empty, empty, empty == 0)
    with pytest.raises(ValueError, match=r"no voxel of the mask exceeds 0.99"):
        core_of(torch.full((4, 4, 4), 0.5))
