"""What the step makes of the sums: filters after the first comparison, and the spectra of the final map."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.fourier.fsc import power_spectrum
from blush.io.files import load_npz, read_json
from blush.io.half_maps import read_half_maps
from blush.io.mrc import read_volume
from blush.jobs import denoise_and_trail as module
from blush.jobs import steps
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.jobs.map_rules import MapRules
from blush.jobs.reduce import load_sums
from blush.maximization.halves import half_sum_fsc, join_low_resolution
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise
from blush.refine.state import load_state
from blush.refine.subset import Subset
from blush.regularise.drive import Regularised
from blush.validate.half_map_doubts import half_map_doubts
from blush.validate.phase_randomise import solvent_corrected_fsc


def again(run, iteration, monkeypatch):
    """The iteration's references once more, without the solvent mask, which would spread their spectra."""
    folder = RunFolder(run)
    monkeypatch.setattr(MapRules, "solvent_mask", lambda *_: torch.ones(()))
    monkeypatch.setattr(module, "half_map_fsc", lambda *_: (np.full(17, 0.9), np.full(17, 0.9)))
    folder.spectra(iteration).unlink()
    steps.denoise_and_trail(run, iteration)
    return [
        power_spectrum(torch.from_numpy(read_volume(folder.map(iteration, Subset(h), "reference"))[0]).double())
        for h in (1, 2)
    ]


@pytest.mark.parametrize("iteration", [1, 2])
def test_maps_of_the_cross_correlation_alone_are_filtered_again(iteration, run, monkeypatch):
    """At 40 Å, shell 5.2 of 208 Å, with an edge of 2 shells; their grey scale and detail are not to be believed yet."""
    assert load_state(RunFolder(run).state(iteration - 1)).search.first_cc == (iteration == 1)
    for power in again(run, iteration, monkeypatch):
        left = float(power[8:].sum() / power[1:].sum())
        assert left < 1e-12 if iteration == 1 else left > 1e-6, left


def test_the_final_map_is_filtered_by_the_signal_of_both_halves(finished):
    """F = sqrt(2 FSC / (1 + FSC)) of Rosenthal & Henderson (2003), and F / (1 - F) with F from 0.001 to 0.999."""
    folder = RunFolder(finished)
    spectra = load_npz(folder.spectra(3))
    fsc = np.maximum(spectra["fsc"], 0.001)
    joined = np.minimum(np.sqrt(2 * fsc / (1 + fsc)), 0.999)
    np.testing.assert_allclose(spectra["ssnr"], joined / (1 - joined), rtol=1e-12)
    np.testing.assert_allclose(spectra["tau2"], spectra["ssnr"] * spectra["sigma2_ref"], rtol=1e-12)
    earlier = load_npz(folder.spectra(2))
    fsc = np.clip(earlier["fsc"], 0.001, 0.999)
    np.testing.assert_allclose(earlier["ssnr"], fsc / (1 - fsc), rtol=1e-12)


@pytest.mark.parametrize("half", [1, 2])
def test_the_final_halves_are_their_own_sums_and_nothing_else(half, finished):
    """Nothing is joined, filtered or masked: D / W of that half alone."""
    folder = RunFolder(finished)
    sums = [load_sums(folder, 3, Subset(number), 32, torch.device("cpu")) for number in (1, 2)]
    written, _ = read_volume(folder.map(None, Subset(half), "unfiltered"))
    assert np.array_equal(written, reconstruct(sums[half - 1]).numpy())
    assert not np.allclose(written, reconstruct(sums[2 - half]).numpy(), rtol=0.1)


def test_references_are_empty_outside_of_the_mask(finished):
    """The particle's sphere is 170 Å across, with an edge of 5 px of 6.5 Å; the box's corners lie beyond."""
    folder = RunFolder(finished)
    z, y, x = np.indices((32, 32, 32)) - 16
    outside = np.sqrt(x**2 + y**2 + z**2) > 170 / 2 / 6.5 + 5
    for half in (1, 2):
        reference, _ = read_volume(folder.map(2, Subset(half), "reference"))
        assert not reference[outside].any()
        assert reference.any()


def test_the_fsc_is_that_of_both_halves_up_to_the_size_in_use(finished):
    """Corrected for the mask with the iteration's seed; beyond half the current size nothing was compared."""
    folder, config = RunFolder(finished), read_config(finished)
    state = load_state(folder.state(1))
    state = replace(state, search=replace(state.search, current_size_px=20))
    sums = [load_sums(folder, 2, Subset(half), 32, torch.device("cpu")) for half in (1, 2)]
    generator = torch.Generator().manual_seed(1)
    first, second = (torch.randn(32, 32, 32, generator=generator) for _ in range(2))
    mask = torch.ones(32, 32, 32)
    corrected, plain = module.half_map_fsc(config, state, (sums[0], sums[1]), mask, [lambda: first, lambda: second])
    expected = solvent_corrected_fsc(first, second, mask, state.facts.seed * 1000 + 1).numpy()
    np.testing.assert_array_equal(corrected[:11], expected[:11])
    assert expected[11:].any()
    assert not corrected[11:].any()
    np.testing.assert_array_equal(plain, half_sum_fsc(*sums))


def test_the_final_half_maps_were_not_filtered_or_masked_alike(finished):
    final = read_half_maps(*(finished / f"run_half{half}_class001_unfil.mrc" for half in (1, 2)))
    assert not any("alike" in text or "one map" in text for text in half_map_doubts(*final.halves, 6.5))


def test_a_regulariser_is_given_each_half_s_own_and_each_half_gets_its_own(run, monkeypatch):
    """Sums joined in the first shells alone; tau^2 = SSNR sigma^2 of those sums; maps made of both; two references."""
    folder, seen = RunFolder(run), []

    def spy(config, given):
        seen.append(given)
        return Regularised((torch.full((32, 32, 32), 1.0), torch.full((32, 32, 32), 2.0)), {})

    monkeypatch.setattr(module, "_drive", spy)
    folder.spectra(2).unlink()
    steps.denoise_and_trail(run, 2)
    given, shell = seen[0], read_json(folder.diagnostics(2))["join_shell"]
    own = [load_sums(folder, 2, Subset(half), 32, torch.device("cpu")) for half in (1, 2)]
    joined = join_low_resolution(*own, shell)
    fsc = np.clip(given.fsc, 0.001, 0.999)
    for half in (0, 1):
        assert torch.equal(given.sums[half].grid, joined[half].grid)
        noise = reference_noise(joined[half])
        np.testing.assert_array_equal(given.sigma2_ref[half], noise)
        np.testing.assert_allclose(given.tau2[half], fsc / (1 - fsc) * noise, rtol=1e-12)
        assert torch.equal(given.unregularised(half), reconstruct(joined[half]))
        assert torch.equal(given.wiener(half), reconstruct(joined[half], given.tau2[half]))
        assert read_volume(folder.map(2, Subset(half + 1), "reference"))[0].max() == half + 1
    assert not np.array_equal(given.tau2[0], given.tau2[1])


def test_slices_are_those_through_the_centre_and_large_ones_are_averaged():
    z, y, x = np.indices((300,) * 3, dtype=np.float32)
    cuts = module.central_slices(z * 1e4 + y * 1e2 + x)
    assert cuts.shape == (3, 100, 100)
    assert cuts[0, 1, 2] == np.float32(150 * 1e4 + 4 * 1e2 + 7)
    assert cuts[1, 1, 2] == np.float32(4 * 1e4 + 150 * 1e2 + 7)
    assert cuts[2, 1, 2] == np.float32(4 * 1e4 + 7 * 1e2 + 150)
    small = module.central_slices(np.arange(125, dtype=np.float32).reshape(5, 5, 5))
    np.testing.assert_array_equal(small[0], np.arange(50, 75).reshape(5, 5))
