"""The driver: what it refuses, what it does for every regulariser alike, and what it records."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from problem import BOX, blobs, half_maps

from blush.config.regulariser import RegulariserSettings
from blush.errors import BlushError
from blush.fourier.filter import multiply_shells
from blush.fourier.fsc import power_spectrum
from blush.fourier.grid import radius_3d
from blush.fourier.mask import soft_sphere
from blush.regularise.amplitude import cross_validated_gain
from blush.regularise.base import HalfMaps, Outcome, Regulariser, RegulariserError
from blush.regularise.drive import Policy, drive
from blush.regularise.select import regulariser
from blush.regularise.symmetry import symmetrised
from blush.regularise.trailing import cross_over_shell, cut_shell, pass_below
from blush.regularise.wiener import Unregularised, Wiener

POLICY = Policy(trailing_shells=2)


class Made(Regulariser):
    """Returns what a function makes of half 2, and half 1 as it is."""

    name = "made"

    def __init__(self, make=lambda volume: volume, **declared) -> None:
        self.make = make
        for key, value in declared.items():
            setattr(self, key, value)

    def regularise(self, maps: HalfMaps) -> Outcome:
        return Outcome((maps.unregularised(0), self.make(maps.unregularised(1))))


def spoil(value: float):
    def make(volume: torch.Tensor) -> torch.Tensor:
        volume = volume.clone()
        volume[3, 4, 5] = value
        return volume

    return make


def refuse(method, message: str) -> None:
    with pytest.raises(BlushError, match=message):
        drive(method, half_maps(torch.float32), POLICY)


def test_another_shape_is_refused():
    refuse(Made(lambda v: v[:-2, :-2, :-2]), r"made returned shape \(22, 22, 22\) for half 2, not \(24, 24, 24\)")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    refuse(Made(spoil(value)), "made returned values that are not finite for half 2")


def test_mixing_the_halves_is_refused_before_it_runs():
    refuse(Made(lambda _: pytest.fail("it ran"), couples="full"), "mixes the half-maps, which gold-standard refinement")


def test_a_single_reference_is_refused():
    class Half(Made):
        def regularise(self, maps: HalfMaps) -> Outcome:
            return Outcome((maps.unregularised(0),))

    refuse(Half(), r"made returned 1 reference\(s\), not one per half")


@pytest.mark.parametrize("factor", [0.1, 10.0])
def test_a_map_of_another_scale_is_refused(factor):
    refuse(Made(lambda v: factor * v), "times the power of half 2 .* its map has another scale")


def test_a_failure_ends_the_run_and_names_the_way_on():
    refuse(Made(spoil(float("nan"))), "(?s)iteration 3: .* regulariser.fallback: wiener goes on")


def test_wiener_takes_the_place_of_a_failure_where_asked_for_and_says_so():
    said = []
    maps = half_maps(torch.float64)
    made = drive(Made(spoil(float("nan"))), maps, Policy(fallback="wiener"), said.append)
    assert said == [
        "iteration 3: made failed, Wiener took its place: made returned values that are not finite for half 2"
    ]
    assert made.diagnostics["name"] == "wiener"
    assert made.diagnostics["asked_for"] == "made"
    assert "not finite" in made.diagnostics["fallback"]
    assert torch.equal(made.references[0], maps.wiener(0))


def test_a_bug_is_not_taken_for_a_failure():
    with pytest.raises(ZeroDivisionError):
        drive(Made(lambda _: 1 / 0), half_maps(torch.float64), Policy(fallback="wiener"))


def test_a_regulariser_may_wait_for_local_searches():
    policy = Policy(starts="local")
    waiting = drive(Made(), half_maps(torch.float64), policy)
    assert (waiting.diagnostics["name"], waiting.diagnostics["waits_for"]) == ("wiener", "local searches")
    assert drive(Made(), half_maps(torch.float64, local=True), policy).diagnostics["name"] == "made"


def test_the_wiener_map_is_passed_on_as_it_is():
    """Its own damping is all: no cut-off comes on top."""
    maps = half_maps(torch.float64)
    made = drive(Wiener(), maps, POLICY)
    for half in (0, 1):
        assert torch.equal(made.references[half], maps.wiener(half))


def test_without_a_prior_the_maps_are_cut_alone():
    maps = half_maps(torch.float64)
    made = drive(Unregularised(), maps, POLICY)
    cut = cut_shell(maps.fsc, 2)
    for half in (0, 1):
        assert torch.equal(made.references[half], pass_below(maps.unregularised(half), cut))


def test_beyond_the_network_the_wiener_map_takes_over():
    """At 3 Å voxels a network of 9 Å Nyquist ends at shell 8; two shells before it the references change hands."""
    maps = half_maps(torch.float64, noise=1e-3)
    assert cross_over_shell(BOX, 3.0, 9.0) == 6
    made = drive(Made(lambda v: v.clone(), nyquist_angst=9.0), maps, Policy(trailing_shells=None))
    assert made.diagnostics["cross_over_shell"] == 6
    changed = drive(Made(lambda v: v.clone()), maps, Policy(trailing_shells=None))
    assert changed.diagnostics["cross_over_shell"] is None
    below, above = slice(1, 5), slice(9, 12)
    reference, wiener = made.references[1], maps.wiener(1)
    given = maps.unregularised(1)
    torch.testing.assert_close(power_spectrum(reference)[below], power_spectrum(given)[below], rtol=0.02, atol=0)
    torch.testing.assert_close(power_spectrum(reference)[above], power_spectrum(wiener)[above], rtol=0.3, atol=0)


@pytest.mark.parametrize("half", [0, 1])
def test_each_half_crosses_over_to_its_own_wiener_map(half):
    """Beyond the cross-over a reference is the half's own Wiener map inside the particle's sphere, to rounding."""
    maps = half_maps(torch.float64, noise=0.05)
    made = drive(Made(lambda v: v.clone(), nyquist_angst=9.0), maps, Policy(trailing_shells=None))
    sphere = soft_sphere(BOX, 10.0, 5.0, dtype=torch.float64)  # 60 Å across at 3 Å a pixel
    spectrum = torch.fft.rfftn(made.references[half])
    own, other = (torch.fft.rfftn(maps.wiener(h) * sphere) for h in (half, 1 - half))
    beyond = radius_3d(BOX) > 7
    scale = float(own[beyond].abs().max())
    assert float((spectrum - own)[beyond].abs().max()) < 1e-12 * scale
    assert float((spectrum - other)[beyond].abs().max()) > 0.1 * scale


def test_references_are_cut_where_the_corrected_fsc_ends():
    """The plain FSC, which solvent noise lowers or a mask's edge raises, does not set the cut."""
    maps = half_maps(torch.float64)
    fsc = np.where(np.arange(BOX // 2 + 1) < 7, 0.9, 0.0)
    plain = np.where(np.arange(BOX // 2 + 1) < 10, 0.9, 0.0)
    made = drive(Unregularised(), replace(maps, fsc=fsc, fsc_unmasked=plain), POLICY)
    assert made.diagnostics["trailing_shell"] == 5
    for half in (0, 1):
        assert torch.equal(made.references[half], pass_below(maps.unregularised(half), 5))


def test_a_cut_below_the_network_leaves_nothing_to_cross_over():
    maps = half_maps(torch.float64)
    made = drive(Made(nyquist_angst=6.5), maps, POLICY)
    assert made.diagnostics["cross_over_shell"] is None
    assert made.diagnostics["trailing_shell"] == cut_shell(maps.fsc, 2)


def test_cross_validation_finds_the_scale_of_every_shell():
    """A denoiser that scales shells at will, by 5 to 0.5, comes back at the scale of the signal."""
    wild = 5 * torch.exp(-0.2 * torch.arange(BOX // 2 + 1, dtype=torch.float64))

    class Wild(Made):
        amplitude = "cross_validated"

        def regularise(self, maps: HalfMaps) -> Outcome:
            first, second = (multiply_shells(maps.wiener(half), wild) for half in (0, 1))
            return Outcome((first, second))

    maps = half_maps(torch.float64, noise=0.02)
    made = drive(Wild(), maps, POLICY)
    for half in (0, 1):
        ratio = power_spectrum(made.references[half])[2:6] / power_spectrum(maps.wiener(half))[2:6]
        assert ((ratio > 0.9) & (ratio < 1.1)).all()


def test_the_user_may_choose_how_amplitudes_are_made():
    """Half the amplitude is kept where that is asked for, and made whole by cross-validation."""

    class Halved(Made):
        def regularise(self, maps: HalfMaps) -> Outcome:
            return Outcome((maps.wiener(0) / 2, maps.wiener(1) / 2))

    maps = half_maps(torch.float64, noise=0.02)
    for amplitude, expected in (("method", 0.25), ("keep", 0.25), ("cross_validated", 1.0)):
        made = drive(Halved(), maps, Policy(amplitude=amplitude))
        ratio = power_spectrum(made.references[1])[2:6] / power_spectrum(maps.wiener(1))[2:6]
        torch.testing.assert_close(ratio, torch.full_like(ratio, expected), rtol=0.1, atol=0)
    assert torch.equal(drive(Wiener(), maps, Policy(amplitude="cross_validated")).references[0], maps.wiener(0))


def test_the_cross_validated_gain_is_the_least_squares_one():
    """Without noise, D = M/2 in every shell is doubled."""
    volume = blobs()
    gain = cross_validated_gain((volume / 2, volume / 2), (volume, volume))
    torch.testing.assert_close(gain[1:10], torch.full_like(gain[1:10], 2.0))


def test_shells_that_a_method_left_empty_get_no_gain_and_spoil_none_beside_them():
    """Only rounding is left in them, a ten-billionth of the power, yet it correlates with the other half."""
    noise = torch.randn(32, 32, 32, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    leftover = torch.where(torch.arange(17) < 8, 1.0, 1e-5).double()
    denoised = multiply_shells(noise, leftover)
    gain = cross_validated_gain((denoised, denoised), (noise, noise))
    torch.testing.assert_close(gain[1:7], torch.ones(6, dtype=torch.float64))
    assert float(gain.max()) < 1.01
    assert float(gain[9:].max()) == 0


def test_noise_that_the_other_half_lacks_gets_no_amplitude():
    generator = torch.Generator().manual_seed(3)
    noise = [torch.randn(32, 32, 32, generator=generator, dtype=torch.float64) for _ in range(2)]
    assert float(cross_validated_gain((noise[0], noise[1]), (noise[0], noise[1]))[4:].max()) < 0.15


def test_what_breaks_symmetry_is_symmetrised():
    maps = half_maps(torch.float64, symmetry="C4")
    ramp = torch.linspace(0.5, 1.5, BOX, dtype=torch.float64)
    made = drive(Made(lambda v: v * ramp, equivariant=False), maps, POLICY)
    reference = made.references[1]
    assert float((reference - symmetrised(reference, "C4")).norm() / reference.norm()) < 0.03
    kept = drive(Made(lambda v: v * ramp), maps, POLICY).references[1]
    assert float((kept - symmetrised(kept, "C4")).norm() / kept.norm()) > 0.1


def test_each_half_is_symmetrised_by_itself_about_the_axes_of_the_map():
    """C4 about z: the mean of a map and its three quarter turns in the plane of x and y."""
    generator = torch.Generator().manual_seed(6)
    noise = [0.02 * torch.randn(BOX, BOX, BOX, generator=generator, dtype=torch.float64) for _ in range(2)]
    maps = half_maps(torch.float64, symmetry="C4")
    broken = replace(maps, unregularised=lambda half: maps.unregularised(half) + noise[half])
    made = drive(Made(equivariant=False), broken, Policy(trailing_shells=None))
    for half in (0, 1):
        volume, mean = broken.unregularised(half), torch.zeros(BOX, BOX, BOX, dtype=torch.float64)
        for turns in range(4):
            odd = volume[:, 1:, 1:]  # its centre voxel is that of the box
            mean[:, 1:, 1:] += torch.rot90(odd, turns, (1, 2)) / 4
        inside = (slice(1, None),) * 3
        torch.testing.assert_close(made.references[half][inside], mean[inside], rtol=0, atol=1e-9)


@pytest.mark.parametrize(("symmetry", "error"), [("C3", 0.01), ("D2", 1e-12), ("C4", 1e-12), ("O", 1e-12)])
def test_symmetrising_a_symmetric_map_changes_nothing(symmetry, error):
    """Exactly so where the axes are those of the grid."""
    smooth = blobs(width_px=1.5)
    once = symmetrised(smooth, symmetry)
    assert float((symmetrised(once, symmetry) - once).norm() / once.norm()) < error
    assert float((once - smooth).norm() / once.norm()) > 0.1  # it had not been symmetric before


def test_symmetrising_a_gaussian_on_the_axis_changes_nothing():
    """It turns about the centre voxel: half a voxel off, this would move by a third of its width."""
    axis = torch.arange(BOX, dtype=torch.float64) - BOX // 2
    line = torch.exp(-(axis**2) / (2 * 1.5**2))
    gaussian = line[:, None, None] * line[:, None] * line
    torch.testing.assert_close(symmetrised(gaussian, "I1"), gaussian, rtol=0, atol=1e-3)


def test_an_unknown_name_is_refused_with_those_known():
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="'wiener', 'none', 'lowpass', 'blush'"):
        RegulariserSettings(name="magic")


@pytest.mark.parametrize(("name", "setting"), [("cref", "weights"), ("external", "command")])
def test_what_a_regulariser_cannot_do_without_is_asked_for(name, setting):
    with pytest.raises(ValueError, match=rf"needs regulariser\.{name}\.{setting}"):
        RegulariserSettings(name=name)


def test_a_worker_keeps_the_regulariser_it_made():
    settings = RegulariserSettings(name="wiener")
    assert regulariser(settings) is regulariser(settings.model_copy())


def test_a_failure_of_wiener_itself_is_not_hidden():
    maps = replace(half_maps(torch.float64), wiener=lambda half: np.nan * half_maps(torch.float64).wiener(half))
    with pytest.raises(BlushError, match="wiener returned values that are not finite"):
        drive(Wiener(), maps, POLICY)


def test_errors_of_plug_ins_are_no_mistakes_of_the_user():
    assert not issubclass(RegulariserError, BlushError)


def test_maps_that_repeat_are_continued_for_what_looks_around_and_for_nothing_else():
    """Once for each half; the FSC and the Wiener map that takes a failed method's place stay those of the images."""
    calls = []

    def fill(volume):
        calls.append(volume)
        return 2 * volume

    maps = replace(half_maps(torch.float32), continued=fill)
    plain = drive(Made(), maps, POLICY)
    assert (calls, plain.diagnostics["continued"]) == ([], False)
    around = drive(Made(looks_around=True), maps, POLICY)
    assert (len(calls), around.diagnostics["continued"]) == (2, True)
    for half in (0, 1):
        assert torch.equal(around.references[half], 2 * plain.references[half])
    assert around.diagnostics["fsc_in"] == plain.diagnostics["fsc_in"]
    failed = Made(spoil(float("nan")), looks_around=True)
    fallen = drive(failed, maps, replace(POLICY, fallback="wiener"))
    assert torch.equal(fallen.references[0], maps.wiener(0))
    assert fallen.diagnostics["continued"] is False
