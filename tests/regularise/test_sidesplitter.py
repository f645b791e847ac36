"""SIDESPLITTER: where every voxel comes from, spectra, and what noise alone leaves."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
import torch
from local_problem import BOX, PIXEL_ANGST, local_half_maps, molecule, solvent

from blush.config.regulariser import RegulariserSettings
from blush.errors import BlushError
from blush.fourier.fsc import power_spectrum, shell_average
from blush.fourier.mask import soft_sphere
from blush.regularise.bands import Radial, butterworth, core_of
from blush.regularise.base import RegulariserError
from blush.regularise.drive import Policy, drive
from blush.regularise.select import regulariser
from blush.regularise.sidesplitter import (
    Sidesplitter,
    _decompose,
    _half_shells,
    _noise_level,
    _shells,
)

BANDS_PER_FREQUENCY, HIGHEST, LEAST_SIGNAL = 64, 0.475, 0.05
"""Of the program by Ramlaul et al. (2020): bands per frequency, cycles per voxel, share of signal."""


@cache
def made():
    """Result of the standard half-maps."""
    return Sidesplitter().regularise(local_half_maps(1))


@cache
def assembled():
    """The standard half-maps put together voxel by voxel, before their shells are looked at."""
    radial, _, spectra, bands = parts(local_half_maps(1))
    pair, _ = Sidesplitter()._assembled(spectra, core_of(local_half_maps(1).mask), bands, radial)
    return pair


def parts(maps):
    """What the decomposition of the standard maps is."""
    halves = maps.unregularised(0), maps.unregularised(1)
    radial, shells = Radial.like(halves[0]), _shells(halves, maps.mask)
    spectra = torch.fft.rfftn(halves[0]), torch.fft.rfftn(halves[1])
    return radial, shells, spectra, _decompose(spectra, core_of(maps.mask), shells.limit, radial)


def test_bands_join_and_are_as_wide_as_the_signal_in_the_one_before_allows():
    radial, shells, _, bands = parts(local_half_maps(1))
    assert (bands[0].low, bands[0].high) == (0, 0.025)
    for before, band in pairwise(bands):
        assert band.low == before.high
        wanted = before.signal * before.high / BANDS_PER_FREQUENCY
        assert band.width == pytest.approx(max(wanted, 0.25 / BOX))
    assert bands[-1].high >= shells.limit or bands[-1].signal <= LEAST_SIGNAL
    assert all(band.high < shells.limit and band.signal > LEAST_SIGNAL for band in bands[:-1])
    assert radial.narrowest == 0.25 / BOX


def test_the_end_is_the_first_half_voxel_shell_without_correlation():
    maps = local_half_maps(1, noise=4.0)
    halves = maps.unregularised(0), maps.unregularised(1)
    radius = np.sqrt(sum(k**2 for k in np.meshgrid(*[np.fft.fftfreq(BOX, 1 / BOX)] * 3, indexing="ij")))
    first, second = (np.fft.fftn((half * maps.mask).numpy()) for half in halves)
    shell = np.floor(2 * radius + 0.5).astype(int)
    limit = HIGHEST
    for s in range(2, BOX + 1):  # shell 1, |k| = 1/2, holds nothing
        inside = shell == s
        a, b = first[inside], second[inside]
        if abs((a * b.conj()).real.sum()) < 0.1 * np.sqrt((abs(a) ** 2).sum() * (abs(b) ** 2).sum()):
            limit = s / (2 * BOX)
            break
    assert 0.1 < limit < HIGHEST
    # The transform as it is stored counts some Friedel pairs once: a border case may end one shell beside.
    assert _shells(halves, maps.mask).limit == pytest.approx(limit, abs=1 / (2 * BOX) + 1e-9)


def test_halves_that_agree_everywhere_end_at_the_highest_frequency():
    half = local_half_maps(1).unregularised(0)
    assert _shells((half, half.clone()), molecule()[1]).limit == HIGHEST


def test_every_voxel_is_its_own_half_low_passed_somewhere_or_zero():
    """The half is looked at alone: nothing of the other half's values is in it."""
    maps = local_half_maps(1)
    radial, _, spectra, bands = parts(maps)
    references = assembled()
    for half in (0, 1):
        nearest = references[half].abs()
        for band in bands:
            passed = radial.filtered(spectra[half], butterworth(radial.frequency, band.high))
            nearest = torch.minimum(nearest, (references[half] - passed).abs())
        assert float(nearest.max()) < 1e-12 * float(references[half].abs().max())


def test_a_voxel_takes_the_finest_filter_at_which_it_exceeds_noise():
    """The slow way round, for one half: from coarse to fine, the later overwrites."""
    maps = local_half_maps(1)
    radial, _, spectra, bands = parts(maps)
    core = core_of(maps.mask)
    flat = sum(band.gain(radial.frequency) * band.flattening for band in bands)
    expected = torch.zeros(BOX, BOX, BOX, dtype=torch.float64)
    for band in bands:
        passed = butterworth(radial.frequency, band.high)
        one, two = (radial.filtered(spectrum, flat * passed) for spectrum in spectra)
        exceeds = two**2 > _noise_level((one - two) / 2, core)
        expected = torch.where(exceeds, radial.filtered(spectra[1], passed), expected)
    torch.testing.assert_close(assembled()[1], expected, rtol=0, atol=1e-12)


def test_noise_reaches_its_largest_value_or_what_as_many_deviates_reach():
    core = torch.ones(10, 10, 10, dtype=torch.bool)
    flat = torch.full((10, 10, 10), 2.0, dtype=torch.float64)
    assert _noise_level(flat, core) == pytest.approx(2 * np.log(1000) * 4)
    peak = torch.zeros_like(flat)
    peak[5, 5, 5] = 3.0
    assert _noise_level(peak, core) == 9.0


def test_solvent_is_flattened():
    maps = local_half_maps(1)
    outside = solvent()
    for half, reference in enumerate(made().references):
        assert float(reference[outside].norm()) < 0.3 * float(maps.unregularised(half)[outside].norm())


def test_the_other_mode_gives_each_half_voxel_shell_its_amplitude_and_nothing_beyond_the_end():
    maps = local_half_maps(1)
    radial, shells, _, _ = parts(maps)
    other = Sidesplitter(taper=False).regularise(maps)
    index = _half_shells(BOX, radial)
    end = int(2 * BOX * shells.limit)
    for half, reference in enumerate(other.references):
        mean = shell_average(torch.fft.rfftn(reference).abs(), index, BOX + 1)
        # An irfftn keeps the real part of self-conjugate terms alone, which are real here.
        expected = shells.amplitude[half][2 : end + 1]
        torch.testing.assert_close(mean[2 : end + 1], expected, rtol=1e-9, atol=0)
        assert float(mean[end + 1 :].max()) < 1e-9 * float(mean.max())


def test_no_shell_has_more_power_than_its_half_gave_it():
    """Selection by size makes the lowest shells too strong; those alone are scaled, and to the power of the half."""
    for half, (reference, selected) in enumerate(zip(made().references, assembled(), strict=True)):
        given, before, after = (
            power_spectrum(volume) for volume in (local_half_maps(1).unregularised(half), selected, reference)
        )
        assert float((before / given)[1:4].max()) > 1.1
        torch.testing.assert_close(after, torch.minimum(before, given), rtol=1e-9, atol=0)


def test_the_configuration_chooses_the_mode():
    chosen = RegulariserSettings(name="sidesplitter", sidesplitter={"taper": False})
    assert not regulariser(chosen).taper
    method = regulariser(RegulariserSettings(name="sidesplitter"))
    assert (method.taper, method.couples) == (True, "field")


def test_pure_noise_is_removed():
    draw = torch.Generator().manual_seed(5)
    halves = [torch.randn(BOX, BOX, BOX, generator=draw, dtype=torch.float64) for _ in range(2)]
    maps = replace(local_half_maps(1), unregularised=lambda half: halves[half])
    for reference, half in zip(Sidesplitter().regularise(maps).references, halves, strict=True):
        assert float(reference.norm()) < 0.1 * float(half.norm())


def test_notes_say_how_far_the_bands_went():
    maps = local_half_maps(1)
    *_, bands = parts(maps)
    notes = made().notes
    assert notes["bands"] == len(bands)
    assert notes["finest_angst"] == pytest.approx(PIXEL_ANGST / bands[-1].high)
    assert all(0 < share <= 1 for share in notes["set_in_mask"])


def test_without_a_mask_the_particle_s_sphere_serves():
    maps = local_half_maps(1)
    sphere = soft_sphere(BOX, maps.particle_diameter_angst / (2 * PIXEL_ANGST), 5.0, dtype=torch.float64)
    found, expected = (Sidesplitter().regularise(replace(maps, mask=mask)) for mask in (None, sphere))
    assert torch.equal(found.references[0], expected.references[0])


def test_empty_halves_and_masks_are_failures_that_may_fall_back():
    maps = local_half_maps(1)
    empty = replace(maps, unregularised=lambda half: torch.zeros(BOX, BOX, BOX, dtype=torch.float64))
    with pytest.raises(RegulariserError, match=r"no power between 0 and 0\.025"):
        Sidesplitter().regularise(empty)
    with pytest.raises(BlushError, match=r"(?s)no voxel of the mask exceeds 0.99.*fallback: wiener"):
        drive(Sidesplitter(), replace(maps, mask=0.5 * maps.mask), Policy())
