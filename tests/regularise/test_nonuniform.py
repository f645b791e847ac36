"""Non-uniform refinement: its global limit, a slow oracle, and what it is for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from local_problem import BOX, PIXEL_ANGST, local_half_maps, molecule, ordered, solvent, truth_error, truth_fsc
from problem import half_maps

from blush.config.regulariser import RegulariserSettings
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import fsc, power_spectrum
from blush.regularise.bands import Radial, butterworth
from blush.regularise.drive import Policy, drive
from blush.regularise.nonuniform import Nonuniform, _blended, _smooth, cross_validated_filter
from blush.regularise.select import regulariser
from blush.regularise.trailing import cut_shell
from blush.regularise.wiener import Wiener


def pair(box: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    """Halves of white signal under a fall-off, each with white noise of its own."""
    draw = torch.Generator().manual_seed(3)
    common, first, second = (torch.randn(box, box, box, generator=draw, dtype=torch.float64) for _ in range(3))
    return common + first, common + second


def prediction_error(first: torch.Tensor, second: torch.Tensor, gain: torch.Tensor) -> float:
    """|m1 - h m2|^2 + |m2 - h m1|^2 of one radial filter."""
    errors = first - multiply_shells(second, gain), second - multiply_shells(first, gain)
    return sum(float(error.square().sum()) for error in errors)


def test_the_free_radial_filter_is_the_fsc_where_both_halves_have_the_same_power():
    """Hence the half-map Wiener filter: SSNR / (1 + SSNR) with SSNR = FSC / (1 - FSC) is the FSC."""
    first, second = pair()
    second = multiply_shells(second, (power_spectrum(first) / power_spectrum(second)).sqrt())
    shells = slice(1, 9)  # beyond the last whole shell multiply_shells leaves nothing
    found = cross_validated_filter(first, second)[shells]
    torch.testing.assert_close(found, fsc(first, second)[shells], rtol=1e-10, atol=0)


@pytest.mark.parametrize("shell", [1, 4, 7])
@pytest.mark.parametrize("step", [-0.05, 0.05])
def test_no_other_radial_filter_cross_validates_better(shell, step):
    first, second = pair()
    best = cross_validated_filter(first, second)
    other = best.clone()
    other[shell] += step
    assert prediction_error(first, second, other) > prediction_error(first, second, best)


def oracle(first: np.ndarray, second: np.ndarray, cutoffs: list[float], awf: float) -> np.ndarray:
    """Index of the best cut-off at every voxel, by sums over explicit windows; before smoothing."""
    box = len(first)
    axis = np.fft.fftfreq(box)
    f = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
    filtered = [
        [np.fft.ifftn(np.fft.fftn(m) / np.sqrt(1 + (f / c) ** 16)).real for m in (first, second)] for c in cutoffs
    ]
    changing = [h1**2 - 2 * second * h1 + h2**2 - 2 * first * h2 for h1, h2 in filtered]
    error, errors = np.zeros_like(first), []
    for k, cutoff in enumerate(cutoffs):
        window = np.fft.ifftn(np.exp(-2 * (np.pi * awf / (2 * cutoff) * f) ** 2)).real
        change = changing[k] - (changing[k - 1] if k else 0)
        for z, y, x in np.ndindex(first.shape):
            moved = np.roll(window, (z, y, x), (0, 1, 2))
            error[z, y, x] += (moved * change).sum()
        errors.append(error.copy())
    return np.argmin(errors, axis=0)


def test_cut_offs_agree_with_sums_over_explicit_windows():
    """Signal in one half of twelve voxels, five cut-offs: the smoothed index of the best one."""
    draw = torch.Generator().manual_seed(4)
    common, first, second = (torch.randn(12, 12, 12, generator=draw, dtype=torch.float64) for _ in range(3))
    common[6:] = 0
    halves = 1.2 * common + first, 1.2 * common + second
    method, cutoffs = Nonuniform(awf=1.0, cutoffs=5), [0.2, 0.25, 0.3, 0.35, 0.4]
    radial = Radial.like(halves[0])
    spectra = tuple(torch.fft.rfftn(half) for half in halves)
    gains = [butterworth(radial.frequency, cutoff) for cutoff in cutoffs]
    found = method._best(halves, spectra, (0, 1), cutoffs, gains, radial)
    index = oracle(halves[0].numpy(), halves[1].numpy(), cutoffs, 1.0)
    assert index.std() > 0.5  # the case is one with something to choose
    expected = _smooth(torch.from_numpy(index).double(), 1 / (2 * cutoffs[-1]), radial).clamp(0, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_cut_offs_run_from_30_angst_to_beyond_where_the_fsc_ends():
    maps = local_half_maps(1)
    end = cut_shell(maps.fsc, 0)
    cutoffs = Nonuniform(cutoffs=20).cutoffs_per_px(maps)
    assert cutoffs[0] == pytest.approx(PIXEL_ANGST / 30)
    assert cutoffs[-1] == pytest.approx(1.15 * end / BOX)
    np.testing.assert_allclose(np.diff(cutoffs), cutoffs[1] - cutoffs[0])


def test_maps_worse_than_30_angst_still_have_cut_offs_to_try():
    maps = replace(local_half_maps(1), fsc=np.array([1.0, 1.0] + [0.0] * (BOX // 2 - 1)))
    cutoffs = Nonuniform().cutoffs_per_px(maps)
    assert cutoffs[0] == pytest.approx(PIXEL_ANGST / 30)
    assert cutoffs[-1] == pytest.approx(PIXEL_ANGST / 15)


def position(maps, **settings) -> torch.Tensor:
    method = Nonuniform(**settings)
    halves = maps.unregularised(0), maps.unregularised(1)
    spectra = torch.fft.rfftn(halves[0]), torch.fft.rfftn(halves[1])
    radial, cutoffs = Radial.like(halves[0]), method.cutoffs_per_px(maps)
    gains = [butterworth(radial.frequency, cutoff) for cutoff in cutoffs]
    return method._best(halves, spectra, (0, 1), cutoffs, gains, radial)


def test_ordered_density_gets_finer_cut_offs_than_disordered_density_and_solvent():
    found, inside = position(local_half_maps(1)), molecule()[1] > 0.9
    sharp, soft = (float(found[inside & side].mean()) for side in (ordered() > 0.95, ordered() < 0.05))
    assert sharp > soft + 3
    assert sharp > float(found[solvent()].mean()) + 3


def test_a_wider_window_makes_the_cut_offs_vary_more_slowly():
    roughness = [float(position(local_half_maps(1), awf=awf).diff(dim=0).square().mean()) for awf in (1.5, 3.0, 6.0)]
    assert roughness[0] > roughness[1] > roughness[2]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_halves_come_nearer_to_the_truth_than_by_the_wiener_filter(seed):
    """FSC with the truth inside the mask, which no radial filter changes much; and the distance."""
    maps = local_half_maps(seed, noise=1.0)
    made, wiener = (drive(method, maps, Policy()).references for method in (Nonuniform(), Wiener()))
    gain = truth_fsc(made) - truth_fsc(wiener)
    assert float(gain[8 : BOX // 2 - 2].mean()) > 0.02
    assert float(gain[1:8].min()) > -0.005  # where the Wiener map correlates 0.97 and more
    assert truth_error(made) < 0.97 * truth_error(wiener)


def test_a_voxel_is_the_mean_of_the_two_filters_that_its_position_lies_between():
    volume = pair(12)[0]
    radial = Radial.like(volume)
    gains = [butterworth(radial.frequency, cutoff) for cutoff in (0.1, 0.2, 0.3)]
    spectrum = torch.fft.rfftn(volume)
    low, high = (radial.filtered(spectrum, gain) for gain in gains[1:])
    found = _blended(spectrum, torch.full_like(volume, 1.25), gains, radial)
    torch.testing.assert_close(found, 0.75 * low + 0.25 * high, rtol=0, atol=1e-12)


def test_each_half_may_have_its_own_cut_offs_which_still_share_a_field():
    settings = RegulariserSettings(name="nonuniform", nonuniform={"share_cutoffs": False, "cutoffs": 7, "awf": 2.0})
    method = regulariser(settings)
    assert (method.share, method.count, method.awf, method.couples) == (False, 7, 2.0, "field")
    maps = local_half_maps(1)
    own, shared = (m.regularise(maps) for m in (method, Nonuniform(awf=2.0, cutoffs=7)))
    assert len(own.notes["chosen_angst_at_5_25_50_75_95_percent"]) == 2
    assert len(shared.notes["chosen_angst_at_5_25_50_75_95_percent"]) == 1
    assert not torch.equal(own.references[0], shared.references[0])
    assert truth_error(own.references) < truth_error((maps.wiener(0), maps.wiener(1)))


def test_noise_alone_is_not_made_to_agree():
    """The field is chosen by how well the halves agree: over many pairs of noise that must favour neither sign."""
    correlations = []
    for seed in range(24):
        draw = torch.Generator().manual_seed(seed)
        halves = [torch.randn(24, 24, 24, generator=draw, dtype=torch.float64) for _ in range(2)]
        limit = np.array([1.0] * 6 + [0.0] * 7)
        maps = replace(half_maps(torch.float64), fsc=limit, unregularised=lambda h, given=halves: given[h])
        first, second = (r - r.mean() for r in Nonuniform(cutoffs=6).regularise(maps).references)
        correlations.append(float((first * second).sum() / (first.norm() * second.norm())))
    # Four standard errors of the mean, from the spread of the pairs themselves.
    assert abs(np.mean(correlations)) < 4 * np.std(correlations) / np.sqrt(24)
