"""Segments as places on filaments, against poses drawn from the formulas of an ideal helix."""

from dataclasses import replace

import numpy as np
import pytest

from blush.geometry.helix import Helix, from_frame
from blush.helix.along import Along, tilt_from_track_deg
from blush.io.particles import ParticleSet

HELIX = Helix(21.0, 37.0)
SLOPE = 37.0 / 21.0
OPTIONAL = ("image_digest", "confined_to", "anchor", "background")
KINDS = ("stacks", "optics", "has_poses", *OPTIONAL)


def particles_of(n: int, **columns) -> ParticleSet:
    zeros = {name: np.zeros(n) for name in ParticleSet.__annotations__ if name not in KINDS}
    return ParticleSet(**zeros | columns, stacks=(), optics=(), has_poses=True)


def drawn(slope: float = SLOPE, flipped: int = 0, reach: float = 10.0):
    """Three filaments of 10, 8 and 6 segments, the second of which looks against its track; all ideal."""
    rng = np.random.default_rng(5)
    filament = np.repeat([0, 1, 2], [10, 8, 6])
    n = len(filament)
    track = np.concatenate([20.0 * np.arange(count) for count in (10, 8, 6)])
    sign = np.where(filament == 1, -1.0, 1.0)
    psi = np.array([30.0, -110.0, 171.0])[filament]
    along, across = rng.uniform(-reach, reach, n), rng.normal(0, 3, n)
    rot = np.array([12.0, 95.0, -40.0])[filament] + sign * slope * (track - along)
    against = sign < 0
    against[:flipped] = True
    offset = from_frame(np.stack([along, across], 1), psi)
    return (
        particles_of(
            n,
            filament=filament.astype(np.int32),
            track_angst=track,
            track_psi_deg=psi,
            track_tilt_deg=np.full(n, 90.0),
            rot_deg=rot,
            tilt_deg=np.full(n, 88.0),
            psi_deg=np.where(against, psi + 180, psi),
            offset_x_angst=offset[:, 0],
            offset_y_angst=offset[:, 1],
        ),
        along,
        across,
    )


def test_an_ideal_filament_has_no_phase():
    particles, along, across = drawn()
    found = Along.of(particles, HELIX)
    assert found.is_reversed.tolist() == [False, True, False]
    assert not found.against_most.any()
    np.testing.assert_allclose(found.along_angst, along, atol=1e-9)
    np.testing.assert_allclose(found.across_angst, across, atol=1e-9)
    np.testing.assert_allclose(found.phase_deg, 0, atol=1e-8)
    assert found.phase_spread_deg == pytest.approx(0, abs=1e-8)


def test_a_slower_twist_than_that_of_the_helix_is_the_slope_of_each_filament():
    """0.2 degrees per unit, whichever way a filament looks."""
    centred, *_ = drawn(slope=36.8 / 21.0, reach=0.0)
    slope, error = Along.of(centred, HELIX).own_slopes()
    np.testing.assert_allclose(slope, -0.2 / 21.0, rtol=1e-9)
    np.testing.assert_allclose(error, 0, atol=1e-9)
    particles, *_ = drawn(slope=36.8 / 21.0)
    ideal, _ = Along.of(particles, Helix(21.0, 36.8)).own_slopes()
    np.testing.assert_allclose(ideal, 0, atol=1e-10)


def test_segments_that_look_the_other_way_are_counted_and_left_out():
    particles, *_ = drawn(flipped=2)
    found = Along.of(particles, HELIX)
    assert found.against_most.tolist() == [True, True] + 22 * [False]
    assert not found.is_reversed[0]
    assert found.phase_spread_deg == pytest.approx(0, abs=1e-8)


def test_single_particles_are_refused():
    with pytest.raises(ValueError, match="no segments of filaments"):
        Along.of(particles_of(3, filament=None, track_angst=None, track_psi_deg=None), HELIX)


def test_a_tilt_is_told_from_the_track_whichever_way_a_segment_looks():
    """Drawn: tilt 88 for every segment, reversed ones too, whose structure is therefore tilted the other way."""
    particles, *_ = drawn()
    against = Along.of(particles, HELIX).reversed
    np.testing.assert_allclose(tilt_from_track_deg(particles), np.where(against, 2.0, -2.0))
    steep = replace(particles, track_tilt_deg=np.full(len(particles.rot_deg), 95.0))
    np.testing.assert_allclose(tilt_from_track_deg(steep), np.where(against, -3.0, -7.0))
    with pytest.raises(ValueError, match="no segments"):
        tilt_from_track_deg(replace(particles, track_tilt_deg=None))
