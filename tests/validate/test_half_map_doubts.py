"""Half-maps that were filtered, masked or mixed alike are told; those of a refinement are not."""

import numpy as np
import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.grid import shell_index_3d
from blush.fourier.mask import soft_sphere
from blush.validate.half_map_doubts import half_map_doubts

BOX, PIXEL = 48, 2.0


def halves(level=0.5, seed=0):
    """A ball of structure that fades towards 6 Å, in two maps with noise of their own, float32."""
    generator = torch.Generator().manual_seed(seed)
    white = torch.randn(BOX, BOX, BOX, generator=generator)
    signal = low_pass(white * soft_sphere(BOX, 11, 3), 8.0, PIXEL, edge_shells=8)
    noise = [level * torch.randn(BOX, BOX, BOX, generator=generator) for _ in range(2)]
    return signal + noise[0], signal + noise[1]


def mixed(first, second, chosen):
    """The second with the shells of the first where they are chosen."""
    one, other = torch.fft.rfftn(first), torch.fft.rfftn(second)
    shell = shell_index_3d(BOX)
    return torch.fft.irfftn(torch.where(chosen(shell), one, other), s=first.shape)


@pytest.mark.parametrize("seed", range(10))
def test_measurements_raise_no_doubt(seed):
    assert half_map_doubts(*halves(seed=seed), PIXEL) == []


@pytest.mark.parametrize("seed", range(3))
def test_noise_raises_no_doubt(seed):
    assert half_map_doubts(*(np.float32(10) * half for half in halves(1e4, seed)), PIXEL) == []


def test_corners_left_empty_raise_no_doubt():
    sphere = soft_sphere(BOX, BOX / 2 - 1, 2)
    assert half_map_doubts(*(half * sphere for half in halves()), PIXEL) == []


@pytest.mark.parametrize("angst", [5.0, 6.0, 12.0])
def test_filtered_half_maps_are_told(angst):
    doubts = half_map_doubts(*(low_pass(half, angst, PIXEL, 2) for half in halves()), PIXEL)
    assert ["hold nothing beyond" in text for text in doubts] == [True]


def test_a_filter_near_nyquist_is_none():
    assert half_map_doubts(*(low_pass(half, 4.05, PIXEL, 2) for half in halves()), PIXEL) == []


@pytest.mark.parametrize("level", [0.0, 0.3])
def test_masked_half_maps_are_told(level):
    mask = soft_sphere(BOX, 12, 4)
    doubts = half_map_doubts(*(half * mask + level * (1 - mask) for half in halves()), PIXEL)
    assert any("were masked alike" in text for text in doubts)


def test_one_masked_half_is_no_common_mask():
    first, second = halves()
    assert not any("masked" in text for text in half_map_doubts(first * soft_sphere(BOX, 12, 4), second, PIXEL))


@pytest.mark.parametrize(("low", "high"), [(0, 5), (9, 12)])
def test_shells_of_one_map_are_told(low, high):
    first, second = halves()
    doubts = half_map_doubts(first, mixed(first, second, lambda shell: (shell >= low) & (shell <= high)), PIXEL)
    begin, end = 96 / max(low, 1), 96 / high
    assert doubts[0].startswith(f"the half-maps are one map from {begin:.1f} to {end:.1f} Å (FSC 1)")


def test_agreement_without_end_is_told():
    generator = torch.Generator().manual_seed(3)
    signal, *noise = (torch.randn(BOX, BOX, BOX, generator=generator) for _ in range(3))
    doubts = half_map_doubts(*(signal + 0.4 * half for half in noise), PIXEL)
    assert ["the pixels are too large for the resolution" in text for text in doubts] == [True]


def test_agreement_that_comes_back_is_told():
    first, second = halves()
    extra = 3 * torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(5))
    band = mixed(extra, torch.zeros_like(extra), lambda shell: (shell >= 18) & (shell <= 21))
    doubts = half_map_doubts(first + band, second + band, PIXEL)
    assert ["is above 0.5 again from 5.3 Å" in text for text in doubts] == [True]
