"""Blush as a regulariser: what it refuses, notes and leaves to the driver."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from identity_networks import identity_unet, random_unet, write_identity_cref, write_identity_unet
from problem import BOX, DIAMETER_ANGST, PIXEL_ANGST, blobs, half_maps

from blush.config.regulariser import RegulariserSettings
from blush.denoise.apply import denoise_map, on_model_grid, plan_patches
from blush.denoise.card import BLUSH, WHITENED, Card
from blush.denoise.unet import UNet3d
from blush.denoise.weights import load_weights, save_weights
from blush.errors import BlushError
from blush.regularise import blush as module
from blush.regularise.base import RegulariserError
from blush.regularise.blush import Blush
from blush.regularise.drive import Policy, drive
from blush.regularise.select import regulariser


@pytest.fixture
def path(tmp_path):
    return write_identity_unet(tmp_path / "w.safetensors", block_px=48)


def made(path, **settings) -> Blush:
    return regulariser(RegulariserSettings(name="blush", blush={"weights": path, **settings}))


def test_each_half_is_denoised_from_its_own_map_alone(tmp_path):
    """A network that is not the identity: reference and denoised map agree, to the last bit."""
    save_weights(tmp_path / "w.safetensors", random_unet(1, 1).state_dict(), Card(BLUSH, 1, 1, block_px=48))
    method, maps = made(tmp_path / "w.safetensors"), half_maps(torch.float32)
    outcome = method.regularise(maps)
    plan = plan_patches(BOX, PIXEL_ANGST, DIAMETER_ANGST, 1.5, block_px=48)
    for half in (0, 1):
        expected = denoise_map(method.network, maps.unregularised(half), plan)
        assert torch.equal(outcome.references[half], expected)
        assert float((expected - maps.unregularised(half)).norm()) > 0.01 * float(expected.norm())


def whitened(folder, **settings) -> Blush:
    """A network with numbers of its own, which sees a particle in some places."""
    card = Card(BLUSH, 1, 1, voxel_size_angst=2.0, block_px=48, input_kind=WHITENED)
    save_weights(folder / "w.safetensors", random_unet(1, 1).state_dict(), card)
    return made(folder / "w.safetensors", **settings)


def knows_the_other_half(method: Blush) -> bool:
    """Whether a half's reference changes with the other half's map, at the same FSC and spectra."""
    maps = half_maps(torch.float32)
    before = method.regularise(maps).references
    changed = []
    for kept in (0, 1):
        noise = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(9))
        own = [maps.unregularised(half) + (half != kept) * 0.2 * noise for half in (0, 1)]
        wiener = [maps.wiener(half) + (half != kept) * 0.2 * noise for half in (0, 1)]
        after = method.regularise(
            replace(maps, unregularised=lambda h, own=own: own[h], wiener=lambda h, wiener=wiener: wiener[h])
        ).references
        assert not torch.equal(after[1 - kept], before[1 - kept])
        changed.append(not torch.equal(after[kept], before[kept]))
    return any(changed)


def test_no_half_knows_the_others_map(tmp_path):
    assert not knows_the_other_half(whitened(tmp_path, own_mask="always"))


def test_a_mask_shared_between_halves_is_found_out(tmp_path, monkeypatch):
    """The planted fault: half 2 is masked by what the network sees in half 1."""
    masks = []

    def one_mask_for_both(*given, **how):
        change, mask = on_model_grid(*given, **how)
        masks.append(mask)
        return change, masks[len(masks) - 1 & ~1]

    monkeypatch.setattr("blush.denoise.whitened.on_model_grid", one_mask_for_both)
    assert knows_the_other_half(whitened(tmp_path, own_mask="always"))


def test_notes_say_what_was_used(path):
    method = made(path)
    notes = method.regularise(half_maps(torch.float32)).notes
    assert notes == {
        "weights_sha256": load_weights(path).sha256,
        "voxel_size_angst": 1.5,
        "model_box_px": 48,
        "patches_per_half": 8,
    }


def test_the_networks_own_mask_works_on_finished_maps_and_in_the_loop_where_asked(tmp_path):
    """Iteration 0 is that of maps from files."""
    found, plain = [], None
    for asked, iteration in (("never", 0), ("finished", 3), ("finished", 0), ("always", 3)):
        outcome = whitened(tmp_path, own_mask=asked).regularise(half_maps(torch.float32, iteration=iteration))
        plain = outcome.references[0] if plain is None else plain
        found.append(("own_mask" in outcome.notes, torch.equal(outcome.references[0], plain)))
    assert found == [(False, True), (False, True), (True, False), (True, False)]


def test_nyquist_is_that_of_the_weights(tmp_path, path):
    assert made(path).nyquist_angst == 3.0
    coarse = write_identity_unet(tmp_path / "c.safetensors", block_px=48, voxel_size_angst=4.0)
    assert made(coarse).nyquist_angst == 8.0


def test_beyond_the_networks_nyquist_the_driver_fills_with_wiener(tmp_path):
    """Voxels of 4 Å on maps of 3 Å: the network ends at 8 Å, the maps resolve more."""
    coarse = write_identity_unet(tmp_path / "c.safetensors", block_px=48, voxel_size_angst=4.0)
    place = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    line = torch.exp(-((place - 1) ** 2) / (2 * 1.2**2))  # well inside the mask, which is 7 voxels of 4 Å at most
    maps = half_maps(torch.float64, noise=1e-4, volume=line[:, None, None] * line[:, None] * line)
    result = drive(made(coarse), maps, Policy(trailing_shells=2))
    shell = result.diagnostics["cross_over_shell"]
    assert shell == int(BOX * PIXEL_ANGST / 8.0) - 2
    ratio = torch.tensor(result.diagnostics["damping"][0])
    assert ((ratio[1:10] > 0.9) & (ratio[1:10] < 1.1)).all()  # no gap on either side of it


def test_a_run_that_would_take_hours_on_a_cpu_fails_before_it_begins(path, monkeypatch):
    method, maps = made(path, cpu_minutes=1e-6), half_maps(torch.float32)
    monkeypatch.setattr("blush.regularise.blush.denoise_map", lambda *_, **__: pytest.fail("it was computed"))
    with pytest.raises(RegulariserError, match=r"16 patches .* minutes per iteration .*cpu_minutes: 1e-06; use a GPU"):
        method.regularise(maps)
    with pytest.raises(BlushError, match="regulariser blush failed in iteration 3"):
        drive(method, maps, Policy())


def test_the_estimate_counts_both_halves(path):
    method = made(path)
    plan = method.plan(half_maps(torch.float32))
    flop = method.network.forward_flop(48)
    assert method.estimated_minutes(plan) == pytest.approx(16 * flop / 20e9 / 60)


@pytest.mark.parametrize(
    ("width", "depth", "seconds"), [(16, 5, 0.57), (16, 4, 0.57), (16, 3, 0.58), (12, 4, 0.37), (8, 4, 0.29)]
)
def test_the_estimate_is_on_the_safe_side_of_what_was_measured(width, depth, seconds):
    """Seconds per patch of 64³ on one core with AVX-512, batch 2."""
    with torch.device("meta"):
        estimate = UNet3d(width, depth).forward_flop(64) / 20e9
    assert seconds < estimate < 3 * seconds


def test_a_map_with_nothing_in_it_is_a_failure_that_may_fall_back(path):
    maps = replace(half_maps(torch.float32), unregularised=lambda _: torch.zeros(BOX, BOX, BOX))
    with pytest.raises(RegulariserError, match="nothing to denoise"):
        made(path).regularise(maps)


def test_patches_that_do_not_fit_are_halved_and_stay_so(path, monkeypatch, capsys):
    """The map is begun anew, so that no patch counts twice; the second half begins with fewer."""
    maps, batches = half_maps(torch.float32), []
    small = made(path, batch=2).regularise(maps).references
    real = module.denoise_map

    def narrow(*arguments, batch, **how):
        batches.append(batch)
        found = real(*arguments, batch=batch, **how)
        if batch > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return found

    monkeypatch.setattr(module, "denoise_map", narrow)
    found = made(path).regularise(maps).references
    assert batches == [4, 2, 2]
    assert all(torch.equal(one, two) for one, two in zip(found, small, strict=True))
    assert capsys.readouterr().err.count("4 patches at once did not fit; 2 from here on") == 1


def test_a_patch_that_does_not_fit_is_a_failure_that_says_so(path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(module, "denoise_map", full)
    with pytest.raises(RegulariserError, match=r"one patch of \d+ px does not fit .* CUDA out of memory"):
        made(path).regularise(half_maps(torch.float32))


def test_a_stride_with_gaps_is_refused_with_the_widest_that_has_none(path):
    with pytest.raises(BlushError, match=r"regulariser\.blush\.stride_px: leaves gaps .*found 30.*give at most 24"):
        made(path, stride_px=30)


def test_weights_of_another_network_are_refused(tmp_path):
    cref = write_identity_cref(tmp_path / "c.safetensors")
    with pytest.raises(BlushError, match="are of another network"):
        made(cref)
    with pytest.raises(BlushError, match="are not those of the Blush network"):
        Blush(load_weights(cref))


def test_a_symmetric_molecule_gets_symmetric_references(tmp_path):
    """The network does not keep symmetry, so the driver does."""
    from blush.regularise.symmetry import symmetrised

    save_weights(tmp_path / "w.safetensors", random_unet(1, 1).state_dict(), Card(BLUSH, 1, 1, block_px=48))
    maps = half_maps(torch.float64, symmetry="C2", volume=symmetrised(blobs(), "C2"))
    method = made(tmp_path / "w.safetensors")
    plain = method.regularise(maps).references[0]
    reference = drive(method, maps, Policy()).references[0]
    assert float((plain - symmetrised(plain, "C2")).norm() / plain.norm()) > 1e-3
    torch.testing.assert_close(
        reference, symmetrised(reference, "C2"), rtol=0, atol=1e-9 * float(reference.abs().max())
    )


def test_weights_for_whitened_maps_are_given_those(tmp_path):
    """The identity returns the Wiener map; without an FSC there is none."""
    card = Card(BLUSH, 1, 1, voxel_size_angst=2.0, block_px=48, input_kind=WHITENED)
    save_weights(tmp_path / "w.safetensors", identity_unet(1, 1).state_dict(), card)
    method, maps = made(tmp_path / "w.safetensors"), half_maps(torch.float32)
    assert "weights" in method.reads
    for half, reference in enumerate(method.regularise(maps).references):
        wiener = maps.wiener(half)
        assert float((reference - wiener).norm() / wiener.norm()) < 1e-4
    with pytest.raises(RegulariserError, match="there is neither"):
        method.regularise(replace(maps, fsc=0 * maps.fsc, tau2=0 * maps.tau2))


def test_of_one_map_its_own_spectra_take_the_place_of_the_fsc(tmp_path, monkeypatch):
    """τ² and σ² say of each shell what the FSC of two halves says: here they were made from one."""
    card = Card(BLUSH, 1, 1, voxel_size_angst=2.0, block_px=48, input_kind=WHITENED)
    save_weights(tmp_path / "w.safetensors", identity_unet(1, 1).state_dict(), card)
    method, maps, seen = made(tmp_path / "w.safetensors"), half_maps(torch.float32), []

    def note(network, half, wiener, weights, plan, **how):
        seen.append(weights.numpy())
        return wiener

    monkeypatch.setattr("blush.regularise.blush.denoise_whitened", note)
    method.regularise(replace(maps, fsc=0 * maps.fsc))
    assert len(seen) == 2
    for weights in seen:
        np.testing.assert_allclose(weights[:-1], np.clip(maps.fsc, 0.001, 0.999)[:-1], rtol=1e-6)
