"""The certificate of references: its estimate of the error against the truth, and what it must and must not flag."""

from pathlib import Path

import pytest
import torch
from identity_networks import write_identity_unet
from problem import BOX, blobs, half_maps

from blush.config.regulariser import BlushSettings, RegulariserSettings
from blush.fourier.fsc import fsc, power_spectrum
from blush.fourier.mask import soft_sphere
from blush.regularise.base import HalfMaps, Outcome, Regulariser
from blush.regularise.drive import Policy, Regularised, drive
from blush.regularise.from_maps import half_maps as from_files
from blush.regularise.select import regulariser
from blush.validate.phase_randomise import randomise_phases

TRUTH = blobs()
SPHERE = soft_sphere(BOX, 7.0, 5.0).double()
"""That of the particle, which the box cuts."""
INSIDE = soft_sphere(BOX, 8.0, 3.0).double()
"""Holds the molecule, a sixth of the box."""
CHANCE = 0.2
"""Of the FSC of shells of 100 to 500 coefficients, from which the noise is told."""


class Learned(Regulariser):
    """What a function makes of the Wiener map of each half."""

    name = "learned"
    learned = True

    def __init__(self, make=lambda wiener: wiener) -> None:
        self.make = make

    def regularise(self, maps: HalfMaps) -> Outcome:
        return Outcome((self.make(maps.wiener(0)), self.make(maps.wiener(1))))


def certified(method: Regulariser, maps: HalfMaps, trailing: int | None = None) -> tuple[Regularised, dict]:
    made = drive(method, maps, Policy(trailing_shells=trailing, certified=True))
    return made, made.diagnostics["certificate"]


def true_error(made: Regularised, maps: HalfMaps, half: int) -> float:
    """Squared distance to the truth over that of the Wiener map, in units of the noise, where FSC is 1/7 to 0.95.

    All in the particle's sphere.
    """
    one, two = (maps.unregularised(h) * SPHERE for h in (0, 1))
    curve = fsc(one, two)
    first = int(torch.nonzero(curve[1:] < 1 / 7)[0]) + 1
    shell = torch.arange(len(curve))
    judged = (shell > 0) & (shell < first) & (curve < 0.95)
    noise = power_spectrum((maps.unregularised(half) - TRUTH) * SPHERE)
    weight = shell.double() ** 2 / noise
    maps_of_both = made.references[half], maps.wiener(half)
    errors = [(weight * power_spectrum((v - TRUTH) * SPHERE))[judged].sum() for v in maps_of_both]
    return float(errors[0] / errors[1])


def invented(seed: int, times: float):
    """Adds the same density to whatever it is given, in the place of the molecule."""
    density = blobs(seed, width_px=0.8)

    def make(wiener: torch.Tensor) -> torch.Tensor:
        return wiener + times * density.to(wiener)

    return make


METHODS = {
    "knows where the molecule is": (lambda wiener: wiener * INSIDE.to(wiener), True),
    "knows nothing more": (lambda wiener: wiener, True),
    "knows the answer": (lambda wiener: (wiener + TRUTH.to(wiener)) / 2, True),
    "invents": (invented(3, 0.3), False),
    "removes": (lambda wiener: 0.3 * wiener, False),
    "sharpens": (lambda wiener: 3 * wiener, False),
}


@pytest.mark.parametrize("name", list(METHODS))
def test_the_estimated_error_is_the_true_one(name):
    """Within chance of both; so a method that is further from the truth than Wiener fails, and no other."""
    make, is_good = METHODS[name]
    maps = half_maps(torch.float64)
    made, found = certified(Learned(make), maps)
    expected = true_error(made, maps, found["half"] - 1)
    assert found["error"] == pytest.approx(expected, rel=CHANCE, abs=CHANCE / 2)
    assert (found["verdict"] == "holds") is is_good, found


def test_a_filter_damps_the_added_noise_as_it_damps_the_map():
    _, found = certified(Learned(lambda wiener: 0.5 * wiener), half_maps(torch.float64, noise=0.4))
    assert found["damping"] == pytest.approx(0.5 * found["damping_wiener"], rel=1e-6)


def test_noise_alone_is_not_certified():
    """Nothing that a method makes of it can be right."""
    noise = half_maps(torch.float64, noise=1.0, volume=torch.zeros(BOX, BOX, BOX, dtype=torch.float64))
    _, found = certified(Learned(), noise)
    assert found["verdict"] == "nothing measured"


def identity(folder: Path) -> Regulariser:
    """A network that was not taught what noise is."""
    path = write_identity_unet(folder / "identity.safetensors", width=1, depth=1, block_px=48, voxel_size_angst=3.0)
    return regulariser(RegulariserSettings(name="blush", blush=BlushSettings(weights=path)))


@pytest.mark.parametrize(("trailing", "verdict"), [(None, "fails"), (2, "holds")])
def test_what_passes_random_phases_beyond_the_measured_resolution_fails(tmp_path, trailing, verdict):
    """Each half has its own beyond shell 6: a network that lets them through fails, but for trailing."""
    maps = half_maps(torch.float32, noise=0.02)
    generator = torch.Generator().manual_seed(1)
    halves = [randomise_phases(maps.unregularised(half), 6.0, generator) for half in (0, 1)]
    given = from_files(*halves, maps.pixel_size_angst, particle_diameter_angst=maps.particle_diameter_angst)
    _, found = certified(identity(tmp_path), given, trailing)
    assert found["verdict"] == verdict, found


def test_it_changes_no_reference(tmp_path):
    """Not even in the last bit; and methods that learned nothing have none."""
    maps = half_maps(torch.float32)
    method = identity(tmp_path)
    plain = drive(method, maps, Policy())
    made, _ = certified(method, maps, 2)
    assert "certificate" not in plain.diagnostics
    assert all(bool((one == two).all()) for one, two in zip(plain.references, made.references, strict=True))
    wiener = drive(regulariser(RegulariserSettings()), maps, Policy(certified=True))
    assert "certificate" not in wiener.diagnostics


def test_halves_are_probed_by_turns():
    seen = [certified(Learned(), half_maps(torch.float32, iteration=n))[1]["half"] for n in (1, 2, 3)]
    assert seen == [1, 2, 1]
