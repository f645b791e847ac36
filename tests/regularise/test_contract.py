"""What every regulariser is held to, the same tests for all."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from methods import METHODS
from problem import BOX, R_MAX, blobs, half_maps

from blush.config.regulariser import RegulariserSettings
from blush.fourier.fsc import power_spectrum
from blush.regularise.base import HalfMaps, Regulariser
from blush.regularise.drive import Policy, Regularised, drive
from blush.regularise.select import MAKERS

POLICY = Policy(trailing_shells=2)


def driven(method: Regulariser, maps: HalfMaps, policy: Policy = POLICY) -> Regularised:
    return drive(method, maps, policy)


def test_there_is_one_of_every_name():
    names = set(RegulariserSettings.model_json_schema()["properties"]["name"]["enum"])
    assert set(MAKERS) == set(METHODS) == names


def test_the_problem_resolves_something_but_not_all():
    below = np.flatnonzero(half_maps(torch.float64).fsc[1:] < 1 / 7)
    assert 4 < below[0] + 1 < R_MAX - 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_references_have_the_shape_type_and_scale_of_the_maps(method, dtype):
    maps = half_maps(dtype)
    for half, reference in enumerate(driven(method, maps).references):
        assert reference.shape == (BOX, BOX, BOX)
        assert reference.dtype == dtype
        assert reference.device == maps.device
        assert torch.isfinite(reference).all()
        low = slice(1, 4)  # shells that the data determine: within a tenth in amplitude
        ratio = power_spectrum(reference)[low] / power_spectrum(maps.unregularised(half))[low]
        assert ((ratio > 0.8) & (ratio < 1.2)).all()


def test_swapping_the_halves_swaps_the_references(method):
    first = driven(method, half_maps(torch.float64))
    second = driven(method, half_maps(torch.float64, swapped=True))
    scale = float(first.references[0].abs().max())
    for one, two in zip(first.references, second.references[::-1], strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-6 * scale)  # float32 inside some methods


def test_the_same_maps_give_the_same_references(method):
    first, second = (driven(method, half_maps(torch.float32)) for _ in range(2))
    for one, two in zip(first.references, second.references, strict=True):
        assert torch.equal(one, two)
    assert first.diagnostics == second.diagnostics


def test_the_maps_given_are_not_changed(method):
    maps = half_maps(torch.float64)
    made = [maps.unregularised(half) for half in (0, 1)] + [maps.wiener(half) for half in (0, 1)]
    held = replace(maps, unregularised=lambda h: made[h], wiener=lambda h: made[2 + h])
    before = [m.clone() for m in made], [h.grid.clone() for h in maps.sums], maps.fsc.copy(), maps.tau2.copy()
    driven(method, held)
    assert all(torch.equal(one, two) for one, two in zip(made, before[0], strict=True))
    assert all(torch.equal(half.grid, grid) for half, grid in zip(maps.sums, before[1], strict=True))
    assert np.array_equal(maps.fsc, before[2])
    assert np.array_equal(maps.tau2, before[3])


@pytest.mark.parametrize("kept", [0, 1])
def test_a_half_is_made_from_its_own_data(kept, method):
    """What couples only by numbers: other data in one half, at the same FSC and tau2, leave the other's reference."""
    if method.couples == "field" or method.amplitude == "cross_validated":
        pytest.skip("shares a field, or a gain per shell, between halves by design; see the next test")
    maps = half_maps(torch.float64)
    noisy = torch.randn(BOX, BOX, BOX, generator=torch.Generator().manual_seed(9), dtype=torch.float64)

    def spoiled(make):
        return lambda half: make(half) + (noisy if half != kept else 0)

    sums = list(maps.sums)
    sums[1 - kept] = replace(sums[1 - kept], grid=1.7 * sums[1 - kept].grid.flip(0))
    other = replace(
        maps, unregularised=spoiled(maps.unregularised), wiener=spoiled(maps.wiener), sums=(sums[0], sums[1])
    )
    one, two = (method.regularise(m).references for m in (maps, other))
    assert torch.equal(one[kept], two[kept])


def test_independent_noise_stays_independent(method):
    """Halves of noise alone: whatever is shared to regularise them must not make their references agree."""
    maps = half_maps(torch.float64, volume=torch.zeros(BOX, BOX, BOX, dtype=torch.float64))
    references = method.regularise(maps).references
    centred = [reference - reference.mean() for reference in references]
    norms = centred[0].norm() * centred[1].norm()
    if float(norms) == 0:
        return  # nothing was let through at all
    # Voxels of noise below the resolution of the filter are not independent: four standard deviations of what the
    # number of coefficients inside the sphere of R_MAX / 3 leaves.
    independent = 4 / 3 * np.pi * (R_MAX / 3) ** 3
    assert abs(float((centred[0] * centred[1]).sum() / norms)) < 4 / np.sqrt(independent)


def test_nothing_is_left_beyond_the_trailing_shell(method):
    made = driven(method, half_maps(torch.float64))
    cut = made.diagnostics["trailing_shell"]
    if not method.trails:
        assert cut is None
        return
    for reference in made.references:
        spectrum = power_spectrum(reference)
        assert float(spectrum[cut + 2 :].max()) < 1e-12 * float(spectrum.max())
        assert float(spectrum[cut - 1]) > 1e-9 * float(spectrum.max())


def test_trailing_can_be_switched_off(method):
    made = driven(method, half_maps(torch.float64), Policy(trailing_shells=None))
    assert made.diagnostics["trailing_shell"] is None


def test_noise_loses_power(method):
    """Beyond the measured resolution there is less in the references than in the half-maps."""
    maps = half_maps(torch.float64)
    made = driven(method, maps)
    beyond = slice(int(np.flatnonzero(maps.fsc[1:] < 1 / 7)[0]) + 1, R_MAX)
    for half, reference in enumerate(made.references):
        kept = power_spectrum(reference)[beyond].sum() / power_spectrum(maps.unregularised(half))[beyond].sum()
        assert float(kept) < 0.9


def test_maps_almost_free_of_noise_change_little(method):
    """Identity where there is nothing to remove: within 2 % of power per shell, and 5 % of the map inside the mask."""
    maps = half_maps(torch.float64, noise=1e-4)
    made = driven(method, maps)
    for half, reference in enumerate(made.references):
        given = maps.unregularised(half)
        ratio = power_spectrum(reference)[1:8] / power_spectrum(given)[1:8]
        assert ((ratio > 0.98) & (ratio < 1.02)).all()
        change = ((reference - given) * maps.mask).norm() / (given * maps.mask).norm()
        assert float(change) < 0.05


@pytest.mark.parametrize("axes", [(0, 1), (1, 2)])
def test_a_map_turned_by_90_degrees_gives_the_turned_references(method, axes):
    """Up to 5 % of the map inside the mask. The box is even, so the turn is about its centre voxel."""

    def turned(volume: torch.Tensor) -> torch.Tensor:
        return torch.roll(torch.rot90(volume, 1, axes), 1, axes[0])

    plain = driven(method, half_maps(torch.float64))
    maps = half_maps(torch.float64)
    other = replace(
        maps, unregularised=lambda h: turned(maps.unregularised(h)), wiener=lambda h: turned(maps.wiener(h))
    )
    if "sums" in method.reads:
        pytest.skip("works on the sums, which this test does not turn")
    for one, two in zip(plain.references, driven(method, other).references, strict=True):
        change = ((turned(one) - two) * maps.mask).norm() / (two * maps.mask).norm()
        assert float(change) < 0.05


def test_a_symmetric_map_stays_symmetric(method):
    from blush.regularise.symmetry import symmetrised

    maps = half_maps(torch.float64, symmetry="C4")
    for reference in driven(method, maps).references:
        mean = symmetrised(reference, "C4")
        assert float(((reference - mean) * maps.mask).norm() / (mean * maps.mask).norm()) < 0.03


def test_ten_times_does_not_amplify(method):
    """Fed its own references as half-maps, power does not grow: alignment must not strengthen what it aligned to."""
    maps = half_maps(torch.float64)
    pair = [maps.unregularised(half) for half in (0, 1)]
    if "sums" in method.reads:
        pytest.skip("works on the sums, not on the maps that this test feeds back")
    powers = []
    for _ in range(10):
        held = replace(maps, unregularised=lambda h, p=tuple(pair): p[h], wiener=lambda h, p=tuple(pair): p[h])
        pair = list(driven(method, held).references)
        powers.append(float(sum(volume.square().sum() for volume in pair)))
    assert powers[-1] <= 1.01 * powers[0]
    assert max(powers) <= 1.05 * powers[0]


def test_the_record_says_what_was_done_shell_by_shell(method):
    diagnostics = driven(method, half_maps(torch.float64)).diagnostics
    assert diagnostics["name"] == diagnostics["asked_for"] == method.name
    assert [len(ratio) for ratio in diagnostics["power_ratio"]] == [BOX // 2 + 1] * 2
    assert [len(kept) for kept in diagnostics["damping"]] == [BOX // 2 + 1] * 2
    assert len(diagnostics["fsc_in"]) == len(diagnostics["fsc_out"]) == BOX // 2 + 1
    assert all(np.isfinite(ratio).all() for ratio in diagnostics["power_ratio"])
    assert diagnostics["couples"] in ("none", "scalars", "field")


def test_the_molecule_of_the_problem_is_in_the_mask():
    maps = half_maps(torch.float64)
    assert float((blobs() * maps.mask).norm() / blobs().norm()) > 0.98
