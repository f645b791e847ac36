"""LAFTER: probabilities, selection, upsampling, and its own check against Cref."""

import math
from itertools import pairwise

import pytest
import torch
from local_problem import BOX, local_half_maps, molecule

from blush.fourier.fsc import fsc
from blush.regularise.bands import Band
from blush.regularise.lafter import _filled, _probability, lafter


@pytest.fixture(scope="module")
def made():
    maps = local_half_maps(1)
    return lafter(maps.unregularised(0), maps.unregularised(1), maps.mask)


def test_the_probability_of_signal_follows_from_the_noise_of_a_band():
    band = Band(0.1, 0.2, noise=4.0, power=16.0)
    value, share = 3.0, 0.75
    below = math.erf(value / math.sqrt(8.0))
    expected = below * share / (below * share + (1 - below) * (1 - share))
    found = _probability(torch.tensor([value, -value, 0.0, 1e3], dtype=torch.float64), band)
    torch.testing.assert_close(found, torch.tensor([expected, expected, 0, 1], dtype=torch.float64), rtol=1e-12, atol=0)


def test_without_noise_all_is_signal():
    found = _probability(torch.tensor([1e-3, 5.0], dtype=torch.float64), Band(0.1, 0.2, noise=0.0, power=16.0))
    assert torch.equal(found, torch.ones(2, dtype=torch.float64))


def test_bands_join_and_end_with_the_signal(made):
    for before, band in pairwise(made.bands):
        assert band.low == before.high
    assert made.bands[0].low == 0
    assert all(band.high <= 0.45 for band in made.bands[:-1])


def test_correlation_with_the_sum_of_the_halves_is_what_their_fsc_leads_to_expect(made):
    """The check of the paper: over the resolved shells as much is taken off as was noise."""
    maps = local_half_maps(1)
    total = (maps.unregularised(0) + maps.unregularised(1)) * maps.mask
    torch.testing.assert_close(made.fsc_to_sum, fsc(made.filtered, total))
    halves = fsc(*(maps.unregularised(half) * maps.mask for half in (0, 1))).clamp_min(0)
    torch.testing.assert_close(made.cref, (2 * halves / (1 + halves)).sqrt())
    assert abs(made.excess()) < 0.05


def test_upsampling_keeps_every_voxel_and_adds_no_frequencies(made):
    assert made.map.shape == (2 * BOX,) * 3
    scale = float(made.filtered.abs().max())
    torch.testing.assert_close(made.map[::2, ::2, ::2], made.filtered, rtol=0, atol=1e-9 * scale)
    # The two maps share their centre voxel, and one tabulates the other's waves.
    axis = torch.fft.fftfreq(2 * BOX, 1 / (2 * BOX)).abs()
    beyond = (axis[:, None, None] > BOX / 2) | (axis[None, :, None] > BOX / 2)
    spectrum = torch.fft.rfftn(made.map - made.map.mean()).abs()
    assert float(spectrum[beyond.expand(-1, -1, 1).squeeze(-1)].max()) < 1e-9 * float(spectrum.max())


def test_unset_voxels_become_the_mean_of_their_neighbours():
    """Around one voxel with 6, eight sweeps: a voxel whose six neighbours are set is their mean from the first on."""
    volume = torch.zeros(8, 8, 8, dtype=torch.float64)
    unset = torch.zeros(8, 8, 8, dtype=torch.bool)
    volume[4, 4, 5], volume[3, 4, 4], unset[4, 4, 4] = 6.0, 12.0, True
    filled = _filled(volume, unset)
    assert float(filled[4, 4, 4]) == 3.0
    assert torch.equal(filled[~unset], volume[~unset])


def test_halves_of_noise_alone_agree_nowhere_beyond_the_first_bands():
    draw = torch.Generator().manual_seed(2)
    first, second = (torch.randn(BOX, BOX, BOX, generator=draw, dtype=torch.float64) for _ in range(2))
    found = lafter(first, second, molecule()[1])
    assert found.bands[-1].high < 0.1
    assert found.agreed < 0.5


def test_swapping_the_halves_changes_nothing(made):
    maps = local_half_maps(1)
    other = lafter(maps.unregularised(1), maps.unregularised(0), maps.mask)
    torch.testing.assert_close(other.map, made.map, rtol=0, atol=1e-9 * float(made.map.abs().max()))


def test_a_mask_without_a_core_and_empty_maps_are_refused():
    volume, mask, _ = molecule()
    with pytest.raises(ValueError, match=r"no voxel of the mask exceeds 0.99"):
        lafter(volume, volume, 0.5 * mask)
    with pytest.raises(ValueError, match="have no power"):
        lafter(0 * volume, 0 * volume, mask)
