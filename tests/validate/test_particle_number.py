"""Resolution against the number of particles: a planted decay is found again."""

import math

import pytest
import torch

from blush.validate.particle_number import resolution_by_number

BOX, PIXEL = 400, 1.0


def planted(bfactor_angst2, particles, angst_of_all):
    """FSC whose signal-to-noise ratio falls as exp(-B / 2d²), and is 0.143 / 0.857 at the resolution of all."""
    frequency = torch.arange(BOX // 2 + 1).double() / (BOX * PIXEL)
    decay = torch.exp(-bfactor_angst2 / 2 * (frequency**2 - angst_of_all**-2))
    ratio = 0.143 / 0.857 * decay
    return resolution_by_number(ratio / (1 + ratio), particles, BOX, PIXEL)


@pytest.mark.parametrize("bfactor_angst2", [80.0, 150.0])
def test_a_planted_decay_is_found(bfactor_angst2):
    found = planted(bfactor_angst2, 100_000, 3.0)
    assert found.bfactor_angst2 == pytest.approx(bfactor_angst2, rel=0.03)
    by_number = dict(zip(found.particles, found.resolution_angst, strict=True))
    assert by_number[100_000] == pytest.approx(3.0, abs=0.01)


def test_twice_as_many_particles_reach_what_the_line_says():
    """1/d² grows by 2 ln 2 / B: with B = 100 Å², from 3.0 to 2.83 Å."""
    found = planted(100.0, 64_000, 3.0)
    by_number = dict(zip(found.particles, found.resolution_angst, strict=True))
    assert by_number[128_000] == pytest.approx(2.83, abs=0.01)
    assert by_number[32_000] == pytest.approx((1 / 9 - 2 * math.log(2) / 100) ** -0.5, abs=0.02)
    assert min(found.particles) >= 50
    assert list(found.particles) == sorted(found.particles)


def test_numbers_that_reach_the_last_shell_are_left_out():
    found = planted(80.0, 1000, 2.05)
    assert 4000 not in found.particles
    assert max(found.resolution_angst) > 2.0


def test_a_curve_without_a_fall_gives_no_line():
    found = resolution_by_number(torch.full((201,), 0.99), 1000, BOX, PIXEL)
    assert found.bfactor_angst2 is None
    assert found.particles == ()
