"""RED fusion: the Wiener filter whose prior expects a denoised map."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from problem import BOX, blobs, half_maps, half_sums, maps_of

from blush.config.regulariser import RedSettings
from blush.fourier.backproject import Accumulator
from blush.fourier.transform import inverse_transform, transform
from blush.maximization.reconstruct import divide, reconstruct, transform_of_map
from blush.maximization.spectra import shells_of_cells
from blush.regularise.base import Outcome, Regulariser, RegulariserError
from blush.regularise.drive import Policy, drive
from blush.regularise.red import Red, fuse, prior_weight
from blush.regularise.wiener import LowPass

FULL = {"full_weight_angst": 100.0, "no_weight_angst": 200.0}


class Given(Regulariser):
    """Returns maps it was given."""

    name = "given"
    couples = "none"

    def __init__(self, *maps, amplitude="keep"):
        self.maps = maps
        vars(self).update(amplitude=amplitude)

    def regularise(self, maps):
        return Outcome((self.maps[0], self.maps[1]), {"told": 1})


class NeverAsked(Given):
    def regularise(self, maps):
        raise AssertionError("the denoiser was asked")


@pytest.mark.parametrize("resolution", [3.0, 4.4444, 4.5, 7.0, 9.99, 10.0, 30.0])
def test_the_published_weight(resolution):
    published = min(1.0, max(0.0, 1.8 - 0.18 * resolution))
    assert prior_weight(resolution, 1.8 / 0.18 - 1 / 0.18, 10.0) == pytest.approx(published, abs=1e-12)
    assert prior_weight(math.inf, 4.4, 10.0) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_weight_it_is_the_wiener_map_bit_by_bit(dtype):
    maps = half_maps(dtype)
    noise = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(5), dtype=dtype)
    for half in (0, 1):
        assert torch.equal(fuse(maps, half, noise, 0.0), maps.wiener(half))


def test_without_weight_the_denoiser_is_not_asked():
    maps = half_maps(torch.float64)
    outcome = Red(NeverAsked(), full_weight_angst=1.0, no_weight_angst=2.0).regularise(maps)
    assert all(torch.equal(outcome.references[half], maps.wiener(half)) for half in (0, 1))
    assert outcome.notes["weight"] == 0


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_every_cell_follows_the_formula(weight):
    """Cell by cell against (D + w V / tau2') / (W + 1 / tau2'), written out anew; from shell 5 on."""
    sums = [half_sums(seed, torch.float64, noise=0.1) for seed in (1, 2)]
    maps = maps_of(sums)
    denoised = blobs(seed=11)
    expected = transform_of_map(denoised, sums[0])
    found = divide(sums[0], maps.tau2[0], expected=weight * expected).values
    shell = shells_of_cells(sums[0]).long()
    tau2 = torch.from_numpy(np.append(maps.tau2[0][: sums[0].r_max + 1], 1.0))
    prior = torch.where(shell >= 5, 1 / (sums[0].pad ** 3 * tau2[shell]), 0.0)
    wanted = (sums[0].data + weight * prior * expected) / (sums[0].weight + prior)
    inside = (shell <= sums[0].r_max) & (sums[0].weight > 0)
    torch.testing.assert_close(found[inside], wanted[inside], rtol=1e-12, atol=0)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_what_the_prior_expects_and_the_data_say_alike_is_the_result(weight):
    """D = W V: with full weight V itself, whatever tau2; with weight w, V (W + w/tau2') / (W + 1/tau2')."""
    volume = blobs()
    sums = half_sums(1, torch.float64, noise=0.0)
    values = torch.view_as_real(transform_of_map(volume, sums))
    sums.grid[..., :2] = values * sums.grid[..., 2:3]
    tau2 = np.geomspace(1e-3, 1e-7, BOX // 2 + 1)
    found = divide(sums, tau2, expected=weight * transform_of_map(volume, sums)).values
    plain, unregularised = divide(sums, tau2).values, divide(sums, None).values
    wanted = plain + weight * (unregularised - plain)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10 * float(wanted.abs().max()))
    if weight == 1:
        whole = reconstruct(sums, tau2, expected=transform_of_map(volume, sums))
        torch.testing.assert_close(whole, reconstruct(sums), rtol=0, atol=1e-10)


def test_the_transform_of_a_map_is_the_one_that_reconstruct_inverts():
    """Band-limited map inside the sphere of the box: D / W again, to what its corners hold."""
    sums = half_sums(1, torch.float64, noise=0.0)
    limited = inverse_transform(transform(blobs(), sums.r_max, corrected=False))
    sphere = transform_of_map(limited, sums)
    again = reconstruct(Accumulator(_with_data(sums, sphere), sums.box_px, sums.r_max))
    torch.testing.assert_close(again, limited, rtol=0, atol=1e-3 * float(limited.abs().max()))


def _with_data(sums, values):
    grid = sums.grid.clone()
    grid[..., :2] = torch.view_as_real(values) * grid[..., 2:3]
    return grid


def test_a_denoiser_that_changes_nothing_leaves_maps_free_of_noise():
    """Through the whole class, and through the driver."""
    maps = half_maps(torch.float64, noise=1e-6)
    red = Red(Given(maps.unregularised(0), maps.unregularised(1)), **FULL)
    given = maps.unregularised(0)
    change = (red.regularise(maps).references[0] - given).norm() / given.norm()
    assert float(change) < 1e-3
    assert drive(red, maps, Policy()).diagnostics["notes"]["weight"] == 1


@pytest.mark.parametrize("half", [0, 1])
def test_each_half_is_fused_with_its_own_sums_and_variance(half):
    maps = half_maps(torch.float64)
    maps = replace(maps, tau2=np.stack([maps.tau2[0], 5 * maps.tau2[1]]))
    denoised, sums = blobs(seed=11), maps.sums[half]
    expected = reconstruct(sums, maps.tau2[half], expected=transform_of_map(denoised, sums))
    assert torch.equal(fuse(maps, half, denoised, 1.0), expected)


def test_the_weight_goes_by_the_resolution_where_the_fsc_is_a_half():
    """Box of 72 Å: FSC = 0.5 at shell 6, 12 Å, and 0.143 far beyond, at shell 10."""
    curve = np.interp(np.arange(BOX // 2 + 1), [0, 5, 6, 7, 10, 11], [1, 0.99, 0.5, 0.2, 0.15, 0.0])
    maps = replace(half_maps(torch.float64), fsc=curve)
    truth = blobs(seed=11)
    weight = Red(Given(truth, truth), full_weight_angst=8.0, no_weight_angst=16.0).regularise(maps).notes["weight"]
    assert weight == pytest.approx(0.5, abs=0.12)  # (16 - 12) / (16 - 8); half a shell is 1 Å, an eighth


def test_a_prior_that_is_the_truth_helps():
    """Against the truth the fusion lies between the half-map and the truth in every regularised shell, from 5 on."""
    from blush.fourier.fsc import fsc

    maps = half_maps(torch.float64, noise=0.3)
    truth = reconstruct(half_sums(1, torch.float64, noise=0.0))
    fused = Red(Given(truth, truth), **FULL).regularise(maps).references[0]
    before, after = fsc(maps.wiener(0), truth), fsc(fused, truth)
    assert (after[5:10] > before[5:10]).all()
    assert float(after[5:10].mean() - before[5:10].mean()) > 0.1


def test_shells_without_signal_take_nothing_from_the_prior():
    """Where tau2 is 0 the filter empties the shell; the denoised map must not refill it."""
    sums = half_sums(1, torch.float64, noise=0.1)
    tau2 = np.full(BOX // 2 + 1, 1e-3)
    tau2[8:] = 0
    prior = transform_of_map(blobs(), sums)
    beyond = shells_of_cells(sums) >= 8
    assert torch.equal(divide(sums, tau2, expected=prior).values[beyond], divide(sums, tau2).values[beyond])


def test_amplitudes_that_mean_nothing_are_set_before_the_fusion():
    maps = half_maps(torch.float64, noise=0.01)
    plain = Red(Given(maps.unregularised(0), maps.unregularised(1), amplitude="cross_validated"), **FULL)
    loud = Red(Given(*(100 * maps.unregularised(h) for h in (0, 1)), amplitude="cross_validated"), **FULL)
    for one, two in zip(plain.regularise(maps).references, loud.regularise(maps).references, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-10 * float(one.abs().max()))


def test_it_declares_what_its_denoiser_does():
    class Network(LowPass):
        couples = "field"
        equivariant = False
        nyquist_angst = 3.0

    red = Red(Network(), 4.0, 9.0)
    assert (red.couples, red.equivariant, red.nyquist_angst) == ("field", False, 3.0)
    assert Red(Given()).couples == "scalars"  # tau2 comes from the FSC
    assert Red.couples == Regulariser.couples  # and the class is as it was


def test_a_denoiser_that_fails_is_a_failure_of_red():
    class Fails(LowPass):
        def regularise(self, maps):
            raise RegulariserError("too small")

    maps = half_maps(torch.float64)
    assert drive(Red(Fails(), **FULL), maps, Policy(fallback="wiener")).diagnostics["fallback"] == "too small"


def test_half_maps_that_agree_nowhere_get_the_wiener_map():
    maps = replace(half_maps(torch.float64), fsc=np.zeros(BOX // 2 + 1))
    assert Red(NeverAsked(), **FULL).regularise(maps).notes["weight"] == 0


def test_limits_the_wrong_way_round_are_a_mistake_of_the_user():
    with pytest.raises(ValueError, match=r"no_weight_angst 10\.0 is not above full_weight_angst 12\.0; raise it"):
        RedSettings(denoiser="nonuniform", full_weight_angst=12)


def test_limits_the_wrong_way_round_are_refused():
    with pytest.raises(ValueError, match="no weight at 10 Å is not beyond full weight at 12 Å"):
        Red(NeverAsked(), full_weight_angst=12, no_weight_angst=10)
