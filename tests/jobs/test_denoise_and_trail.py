"""What the step makes of the sums: filters after the first comparison, and the spectra of the final map."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import power_spectrum
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.jobs import denoise_and_trail as module
from blush.jobs import steps
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state


def again(run, iteration, monkeypatch):
    """The iteration's references once more, without the solvent mask, which would spread their spectra."""
    folder = RunFolder(run)
    monkeypatch.setattr(module, "solvent_mask", lambda *_: torch.ones(()))
    monkeypatch.setattr(module, "half_map_fsc", lambda *_: (np.full(17, 0.9), np.full(17, 0.9)))
    folder.spectra(iteration).unlink()
    steps.denoise_and_trail(run, iteration)
    return [power_spectrum(torch.from_numpy(read_volume(folder.reference(iteration, h))[0]).double()) for h in (1, 2)]


@pytest.mark.parametrize("iteration", [1, 2])
def test_maps_of_the_cross_correlation_alone_are_filtered_again(iteration, run, monkeypatch):
    """At 40 Å, shell 5.2 of 208 Å, with an edge of 2 shells; their grey scale and detail are not to be believed yet."""
    assert load_state(RunFolder(run).state(iteration - 1)).first_cc == (iteration == 1)
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
