"""The contract that every regulariser keeps, and the driver that refuses those that do not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.fourier.backproject import Accumulator, empty_accumulator, trim
from blush.fourier.fsc import power_spectrum
from blush.fourier.transform import transform
from blush.maximization.halves import half_sum_fsc
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise, signal_to_noise
from blush.regularise.base import HalfMaps, Regularised, drive
from blush.regularise.select import REGULARISERS, regulariser
from blush.regularise.trailing import cut_shell, trail

BOX, R_MAX, TRAILING = 24, 11, 2


def half_sums(seed: int, dtype: torch.dtype) -> Accumulator:
    """A common Gaussian with noise of its own: the FSC falls through 1/7 inside the sphere."""
    axis = (torch.arange(BOX, dtype=torch.float64) - BOX // 2) ** 2
    volume = torch.exp(-(axis[:, None, None] + axis[:, None] + axis) / (2 * 1.6**2))
    noise = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    values = torch.view_as_real(transform(volume + 0.02 * noise, R_MAX, corrected=False).values)
    sums = empty_accumulator(BOX, R_MAX, dtype=dtype)
    sums.grid[..., :2], sums.grid[..., 2] = 40 * values.to(dtype), 40
    return trim(sums)


def half_maps(dtype: torch.dtype, *, swapped: bool = False) -> HalfMaps:
    sums = [half_sums(seed, dtype) for seed in (1, 2)]
    sums = sums[::-1] if swapped else sums
    fsc = half_sum_fsc(*sums)
    noise = np.stack([reference_noise(half) for half in sums])
    tau2 = signal_to_noise(fsc, joined=False) * noise
    return HalfMaps(
        sums=(sums[0], sums[1]),
        fsc=fsc,
        fsc_unmasked=fsc,
        tau2=tau2,
        sigma2_ref=noise,
        unregularised=lambda half: reconstruct(sums[half]),
        wiener=lambda half: reconstruct(sums[half], tau2[half]),
        pixel_size_angst=3.0,
        particle_diameter_angst=50.0,
        symmetry="C1",
        mask=None,
        iteration=3,
        local=False,
    )


@pytest.fixture(params=sorted(REGULARISERS))
def name(request) -> str:
    return request.param


def driven(name: str, dtype: torch.dtype, *, swapped: bool = False) -> Regularised:
    return drive(regulariser(name), half_maps(dtype, swapped=swapped), trailing_shells=TRAILING)


def test_the_problem_resolves_something_but_not_all():
    below = np.flatnonzero(half_maps(torch.float64).fsc[1:] < 1 / 7)
    assert 4 < below[0] + 1 < R_MAX - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_references_have_the_shape_type_and_scale_of_the_maps(name, dtype):
    maps, made = half_maps(dtype), driven(name, dtype)
    for half, reference in enumerate(made.references):
        assert reference.shape == (BOX, BOX, BOX)
        assert reference.dtype == dtype
        assert torch.isfinite(reference).all()
        low = slice(0, 4)  # shells that the data determine: within a tenth in amplitude
        ratio = power_spectrum(reference)[low] / power_spectrum(maps.unregularised(half))[low]
        assert ((ratio > 0.8) & (ratio < 1.2)).all()


def test_swapping_the_halves_swaps_the_references(name):
    first, second = driven(name, torch.float64), driven(name, torch.float64, swapped=True)
    for one, two in zip(first.references, second.references[::-1], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-13)


def test_the_same_maps_give_the_same_references(name):
    first, second = driven(name, torch.float32), driven(name, torch.float32)
    for one, two in zip(first.references, second.references, strict=True):
        assert torch.equal(one, two)
    assert first.diagnostics == second.diagnostics


def test_the_maps_given_are_not_changed(name):
    maps = half_maps(torch.float64)
    before = [half.grid.clone() for half in maps.sums], maps.fsc.copy(), maps.tau2.copy()
    drive(regulariser(name), maps, trailing_shells=TRAILING)
    for half, grid in zip(maps.sums, before[0], strict=True):
        assert torch.equal(half.grid, grid)
    assert np.array_equal(maps.fsc, before[1])
    assert np.array_equal(maps.tau2, before[2])


def test_a_half_is_made_from_its_own_data(name):
    """What couples only by numbers: noise in half 2 alone, at the same FSC and tau2, leaves reference 1 as it is."""
    maps, method = half_maps(torch.float64), regulariser(name)
    if method.couples == "field":
        pytest.skip("shares a field between halves by design")
    noisy = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def spoiled(make):
        return lambda half: make(half) + (noisy if half == 1 else 0)

    other = replace(maps, unregularised=spoiled(maps.unregularised), wiener=spoiled(maps.wiener))
    one, two = (drive(method, m, trailing_shells=TRAILING).references for m in (maps, other))
    assert torch.equal(one[0], two[0])
    assert not torch.equal(one[1], two[1])


def test_nothing_is_left_beyond_the_trailing_shell(name):
    made, method = driven(name, torch.float64), regulariser(name)
    cut = made.diagnostics["trailing_shell"]
    if not method.trails:
        assert cut is None
        return
    for reference in made.references:
        spectrum = power_spectrum(reference)
        assert float(spectrum[cut + 1 :].max()) < 1e-25 * float(spectrum.max())
        assert float(spectrum[cut - 1]) > 1e-9 * float(spectrum.max())


def test_trailing_can_be_switched_off(name):
    made = drive(regulariser(name), half_maps(torch.float64), trailing_shells=None)
    assert made.diagnostics["trailing_shell"] is None
    plain = regulariser(name).regularise(half_maps(torch.float64))
    for one, two in zip(made.references, plain, strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-13)


def test_the_record_says_what_was_done_shell_by_shell(name):
    diagnostics = driven(name, torch.float64).diagnostics
    assert diagnostics["name"] == name
    assert [len(ratio) for ratio in diagnostics["power_ratio"]] == [BOX // 2 + 1] * 2
    assert len(diagnostics["fsc_in"]) == len(diagnostics["fsc_out"]) == BOX // 2 + 1
    assert all(np.isfinite(ratio).all() for ratio in diagnostics["power_ratio"])
    assert diagnostics["couples"] in ("none", "scalars", "field")


class Broken:
    """A regulariser with one fault."""

    name = "broken"
    couples = "none"
    trails = True

    def __init__(self, make) -> None:
        self.make = make

    def regularise(self, maps: HalfMaps) -> tuple[torch.Tensor, torch.Tensor]:
        return maps.unregularised(0), self.make(maps.unregularised(1))


def spoil(value: float):
    def make(volume: torch.Tensor) -> torch.Tensor:
        volume = volume.clone()
        volume[3, 4, 5] = value
        return volume

    return make


def refuse(method, message: str) -> None:
    with pytest.raises(BlushError, match=message):
        drive(method, half_maps(torch.float32), trailing_shells=TRAILING)


def test_another_shape_is_refused():
    refuse(Broken(lambda v: v[:-2, :-2, :-2]), r"broken returned shape \(22, 22, 22\) for half 2, not \(24, 24, 24\)")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(value):
    refuse(Broken(spoil(value)), "broken returned values that are not finite for half 2")


def test_mixing_the_halves_is_refused_before_it_runs():
    method = Broken(lambda volume: pytest.fail("it ran"))
    method.couples = "full"
    refuse(method, "broken mixes the half-maps, which gold-standard refinement forbids")


def test_a_single_reference_is_refused():
    class Half(Broken):
        def regularise(self, maps: HalfMaps):
            return (maps.unregularised(0),)

    refuse(Half(None), r"broken returned 1 reference\(s\), not one per half")


def test_an_unknown_name_is_refused_with_those_known():
    with pytest.raises(BlushError, match=r"regulariser\.name is 'magic'; known are none, wiener"):
        regulariser("magic")


def test_the_configuration_knows_the_same_names():
    from blush.config.sections import Regulariser

    allowed = Regulariser.model_json_schema()["properties"]["name"]["enum"]
    assert sorted(allowed) == sorted(REGULARISERS)


def test_the_wiener_map_is_passed_on_as_it_is():
    """Its own damping is all: no cut-off comes on top."""
    maps = half_maps(torch.float64)
    made = drive(regulariser("wiener"), maps, trailing_shells=TRAILING)
    for half in (0, 1):
        assert torch.equal(made.references[half], maps.wiener(half))


def test_without_a_prior_the_maps_are_cut_alone():
    maps = half_maps(torch.float64)
    made = drive(regulariser("none"), maps, trailing_shells=TRAILING)
    cut = cut_shell(maps.fsc, TRAILING)
    for half in (0, 1):
        assert torch.equal(made.references[half], trail(maps.unregularised(half), cut))
