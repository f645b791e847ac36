"""Phase randomisation, and that the corrected FSC reports no more than is there."""

import math

import pytest
import torch

from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc, power_spectrum, resolution_at
from blush.fourier.mask import soft_sphere
from blush.validate.phase_randomise import (
    correct,
    masked_fsc,
    randomise_phases,
    solvent_corrected_fsc,
)

SPARED_SHELLS = 2
"""Shells that keep their masked FSC beyond the first randomised one, as in RELION 3.1.3."""


def noise(box, seed, dtype=torch.float64):
    return torch.randn(box, box, box, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("box", [16, 17])
def test_amplitudes_stay_and_phases_below_the_limit_stay(box):
    volume = noise(box, 1)
    turned = randomise_phases(volume, 4, torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.fft.rfftn(turned).abs(), torch.fft.rfftn(volume).abs())
    curve = fsc(volume, turned)
    torch.testing.assert_close(curve[:4], torch.ones(4).double())
    # Uniform phases over the n = 4 pi s^2 coefficients of a shell, half of them independent: sd sqrt(2 / n) / sqrt(2).
    shell = torch.arange(5, box // 2 + 1)
    assert float((curve[5:].abs() * (4 * math.pi * shell.square()).sqrt()).max()) < 4


def test_the_same_seed_gives_the_same_phases():
    volume = noise(12, 1, torch.float32)
    first, second, other = (randomise_phases(volume, 2, torch.Generator().manual_seed(s)) for s in (5, 5, 6))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_correction_is_the_formula_beyond_the_spared_shells():
    masked, randomised = torch.full((8,), 0.6, dtype=torch.float64), torch.full((8,), 0.2, dtype=torch.float64)
    corrected = correct(masked, randomised, 3)
    assert corrected[: 3 + SPARED_SHELLS].tolist() == [0.6] * 5
    torch.testing.assert_close(corrected[5:], torch.full((3,), 0.5, dtype=torch.float64))


def halves(box):
    """A ball of structure up to 12 Å at 2 Å per pixel, and two noisy copies."""
    signal = low_pass(noise(box, 3) * soft_sphere(box, box * 0.2, 3, dtype=torch.float64), 12.0, 2.0)
    return [signal + 0.05 * noise(box, seed) for seed in (4, 5)]


def test_a_sharp_mask_deceives_the_masked_fsc_but_not_the_corrected_one():
    """Nothing is common beyond 40 Å, where phases are randomised; a hard edge through the density spreads it.

    Few numbers make up what spreads, so one draw of phases errs by 0.2 in a shell; ten draws average that out.
    """
    ball = low_pass(soft_sphere(64, 14, 3, dtype=torch.float64), 40.0, 2.0)
    first, second = (ball + 0.3 * noise(64, seed) for seed in (1, 2))
    mask = soft_sphere(64, 8, 0, dtype=torch.float64)
    draws = [masked_fsc(first, second, mask, seed) for seed in range(10)]
    assert draws[0].randomise_from == 4
    beyond = slice(4 + SPARED_SHELLS, None)
    assert float(draws[0].masked[beyond].mean()) > 0.7
    assert abs(float(torch.stack([draw.corrected[beyond] for draw in draws]).mean())) < 0.05


def test_pure_noise_resolves_nothing():
    """Two unrelated maps in a mask of the particle: over 20 pairs none may look resolved beyond the box's start."""
    mask = soft_sphere(48, 14, 5, dtype=torch.float64)
    for seed in range(20):
        curve = solvent_corrected_fsc(noise(48, 100 + seed), noise(48, 200 + seed), mask, seed)
        # The first two shells hold 3 and 9 independent numbers inside the mask and correlate at random.
        assert resolution_at(curve, 0.143, 48, 2.0) >= 48 * 2.0 / 4


def test_driving_curve_is_zero_where_the_mask_explains_everything():
    first, second = halves(48)
    mask = soft_sphere(48, 6, 0, dtype=torch.float64)
    free = solvent_corrected_fsc(first, second, mask, 4, clamp=False)
    driven = solvent_corrected_fsc(first, second, mask, 4)
    assert float(driven.min()) >= 0 > float(free.min())
    torch.testing.assert_close(driven[free > 0], free[free > 0])


def test_without_a_shell_to_randomise_the_unmasked_curve_is_used():
    volume = noise(16, 1)
    mask = soft_sphere(16, 5, 2, dtype=torch.float64)
    other = volume + 0.1 * noise(16, 2)
    curves = masked_fsc(volume, other, mask, 1)
    assert curves.randomise_from is None
    assert torch.equal(curves.corrected, fsc(volume, other))
    assert torch.equal(solvent_corrected_fsc(volume, other, mask, 1), fsc(volume, other))


def test_randomised_halves_keep_their_power_per_shell():
    volume = noise(24, 9)
    turned = randomise_phases(volume, 0, torch.Generator().manual_seed(1))
    torch.testing.assert_close(power_spectrum(turned), power_spectrum(volume))
