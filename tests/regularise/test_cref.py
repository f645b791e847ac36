"""crefDenoiser as a regulariser: amplitudes from the other half, whatever the network's own."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from identity_networks import CREF_CARD, identity_cref, write_identity_cref, write_identity_unet
from problem import BOX, half_maps

from blush.config.regulariser import RegulariserSettings
from blush.denoise.cref_unet import denoise_with_cref
from blush.denoise.published import import_weights
from blush.denoise.weights import load_weights, save_weights
from blush.errors import BlushError
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import power_spectrum
from blush.regularise.base import RegulariserError
from blush.regularise.cref import Cref
from blush.regularise.drive import Policy, drive
from blush.regularise.select import regulariser

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "cref"


@pytest.fixture
def path(tmp_path):
    return write_identity_cref(tmp_path / "w.safetensors")


def made(path) -> Cref:
    return regulariser(RegulariserSettings(name="cref", cref={"weights": path}))


def test_each_half_is_denoised_from_its_own_map_alone(path):
    method, maps = made(path), half_maps(torch.float32)
    outcome = method.regularise(maps)
    for half in (0, 1):
        assert torch.equal(outcome.references[half], denoise_with_cref(method.network, maps.unregularised(half)))
    assert outcome.notes == {"weights_sha256": load_weights(path).sha256}


def test_the_identity_becomes_the_filter_by_which_one_half_predicts_the_other(path):
    """a(s) = Re sum M1 M2* / sum |M|²: the FSC, for halves of equal power; smoothed over three shells."""
    maps = half_maps(torch.float64)
    result = drive(made(path), maps, Policy(trailing_shells=None))
    gain = torch.tensor(result.diagnostics["amplitude_gain"])
    spectra = [torch.fft.rfftn(maps.unregularised(half)) for half in (0, 1)]
    from blush.fourier.fsc import shell_sum
    from blush.fourier.grid import shell_index_3d

    shell, n = shell_index_3d(BOX), BOX // 2 + 1
    cross = shell_sum((spectra[0] * spectra[1].conj()).real, shell, n)
    factor = sum(cross / shell_sum(s.abs().square(), shell, n) for s in spectra).clamp_min(0) / 2
    for at in range(1, 11):
        assert float(gain[at]) == pytest.approx(float(factor[at - 1 : at + 2].mean()), abs=1e-5)
    expected = multiply_shells(maps.unregularised(0), gain)
    torch.testing.assert_close(result.references[0], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_amplitudes_that_the_network_invents_are_put_right(tmp_path, path):
    """A gain of 150 changes nothing."""
    save_weights(tmp_path / "loud.safetensors", identity_cref(gain=150.0).state_dict(), CREF_CARD)
    maps = half_maps(torch.float64)
    one, two = (drive(made(p), maps, Policy()).references[0] for p in (path, tmp_path / "loud.safetensors"))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5 * float(one.abs().max()))  # float32 inside


def test_a_map_with_nothing_in_it_is_a_failure_that_may_fall_back(path):
    maps = replace(half_maps(torch.float32), unregularised=lambda _: torch.zeros(BOX, BOX, BOX))
    with pytest.raises(RegulariserError, match="constant"):
        made(path).regularise(maps)


def test_memory_that_runs_out_is_a_failure_that_may_fall_back(path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("blush.regularise.cref.denoise_with_cref", full)
    with pytest.raises(RegulariserError, match="a box of 24 px"):
        made(path).regularise(half_maps(torch.float32))


def test_weights_of_another_network_are_refused(tmp_path):
    blush = write_identity_unet(tmp_path / "b.safetensors")
    with pytest.raises(BlushError, match="are of another network"):
        made(blush)
    with pytest.raises(BlushError, match="are not those of crefDenoiser"):
        Cref(load_weights(blush))


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data beside the repository")
def test_the_published_network_keeps_scale_and_loses_noise(tmp_path):
    """Its raw amplitudes are wrong by orders; what the driver returns has the half-map's where that is measured."""
    tensors, card = import_weights(SHARED / "cref_epoch192.safetensors")
    save_weights(tmp_path / "cref.safetensors", tensors, card)
    maps = half_maps(torch.float32)
    result = drive(made(tmp_path / "cref.safetensors"), maps, Policy(trailing_shells=2))
    for half, reference in enumerate(result.references):
        ratio = power_spectrum(reference)[1:4] / power_spectrum(maps.unregularised(half))[1:4]
        assert ((ratio > 0.5) & (ratio < 1.5)).all()
