"""Filaments against their truth: what a refinement cannot know is removed, and errors are not."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from blush.geometry.helix import Helix, from_frame
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.io.particles import ParticleSet
from blush.simulate.filament_unit import Unit, helix_map
from blush.simulate.settings import load_settings
from blush.validate.helix_truth import TrueHelix, compare_helix_with_truth, helix_drift, segment_errors
from blush.validate.poses import offsets, rotations

HELIX = Helix(20.0, 50.0)
FILAMENTS, SEGMENTS = 6, 8
PIXEL, BOX = 4.0, 40


def segments(seed=0):
    """True poses on ideal filaments, of which the last two run against their tracks, by the formulas of the helix."""
    generator = np.random.default_rng(seed)
    n = FILAMENTS * SEGMENTS
    filament = np.repeat(np.arange(FILAMENTS), SEGMENTS)
    against = filament >= 4
    track = generator.uniform(-180, 180, FILAMENTS)[filament]
    along = generator.uniform(-10, 10, n)
    place = np.tile(40.0 * np.arange(SEGMENTS), FILAMENTS)
    sign = np.where(against, -1, 1)
    rot = generator.uniform(-180, 180, FILAMENTS)[filament] + sign * 2.5 * (place - along)
    tilt, psi = generator.normal(90, 2, n), track + generator.normal(0, 1, n)
    offset = from_frame(np.stack([along, generator.normal(0, 3, n)], 1), track)
    empty = np.zeros(n)
    return ParticleSet(
        image_index=np.arange(n),
        stack_index=np.zeros(n, dtype=np.int32),
        optics_index=np.zeros(n, dtype=np.int32),
        group_index=np.zeros(n, dtype=np.int32),
        half=np.zeros(n, dtype=np.int8),
        **dict.fromkeys(
            ("defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale"),
            empty,
        ),
        rot_deg=rot,
        tilt_deg=np.where(against, 180 - tilt, tilt),
        psi_deg=psi + 180 * against,
        offset_x_angst=offset[:, 0],
        offset_y_angst=offset[:, 1],
        norm_correction=empty,
        stacks=(),
        optics=(),
        has_poses=True,
        filament=filament.astype(np.int32),
        track_psi_deg=track,
    )


def posed(particles, matrix, offset):
    euler = euler_from_matrix(matrix).numpy()
    names = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")
    return replace(particles, **dict(zip(names, [*euler.T, *offset.numpy().T], strict=True)))


def moved(particles, turn_deg, lift_angst, over):
    """The same images, described by a map that is turned over first, then turned about z and lifted along it."""
    about_x = torch.diag(torch.tensor([1.0, -1.0, -1.0] if over else [1.0] * 3, dtype=torch.float64))
    about_z = matrix_from_euler(torch.tensor([turn_deg, 0.0, 0.0], dtype=torch.float64))
    matrix = rotations(particles) @ about_x @ about_z
    lift = torch.tensor([0, 0, lift_angst], dtype=torch.float64)
    return posed(particles, matrix, offsets(particles) + (matrix @ lift)[:, :2])


@pytest.mark.parametrize("over", [False, True])
def test_what_a_refinement_cannot_know_is_no_error(over):
    """A map that is turned, lifted and upside down; a segment described by the next unit; exact to rounding."""
    true = replace(segments(), tilt_deg=np.full(FILAMENTS * SEGMENTS, 90.0))  # lifts stay along the track
    psi = true.track_psi_deg + np.where(true.filament >= 4, 180.0, 0.0)
    true = replace(true, psi_deg=psi)
    found = moved(true, 73.0, 6.5, over)
    errors = segment_errors(found, true, HELIX)
    assert errors.reversed_map is over
    assert not errors.is_wrong.any()
    for values in (errors.rot_deg, errors.tilt_deg, errors.psi_deg, errors.across_angst, errors.angle_deg):
        np.testing.assert_allclose(values, 0, atol=1e-5)
    step = from_frame(np.array([[20.0, 0.0]]), true.track_psi_deg[:1])[0]
    columns = {"rot_deg": found.rot_deg.copy(), "offset_x_angst": found.offset_x_angst.copy()}
    columns |= {"offset_y_angst": found.offset_y_angst.copy()}
    columns["rot_deg"][0] += 50.0 if over else -50.0
    columns["offset_x_angst"][0] += step[0]
    columns["offset_y_angst"][0] += step[1]
    np.testing.assert_allclose(segment_errors(replace(found, **columns), true, HELIX).rot_deg, 0, atol=1e-5)


def test_errors_are_those_that_were_made():
    true = segments()
    rot, psi, tilt = true.rot_deg.copy(), true.psi_deg.copy(), true.tilt_deg.copy()
    rot[:SEGMENTS] += 10  # one filament as a whole: the common turn is that of the others
    psi[9], tilt[10] = psi[9] + 4, tilt[10] - 3
    errors = segment_errors(replace(true, rot_deg=rot + 31, psi_deg=psi, tilt_deg=tilt), true, HELIX)
    np.testing.assert_allclose(errors.rot_deg, [10] * 8 + [0] * 40, atol=1e-9)
    assert errors.psi_deg[9] == pytest.approx(4)
    assert errors.tilt_deg[10] == pytest.approx(-3)
    assert np.count_nonzero(np.abs(errors.psi_deg) > 1e-9) == np.count_nonzero(np.abs(errors.tilt_deg) > 1e-9) == 1
    assert errors.angle_deg[9] == pytest.approx(4, abs=0.01)
    assert errors.summary()["rot_deg_rms"] == pytest.approx(math.sqrt(100 / 6))


def test_segments_and_filaments_of_the_wrong_polarity_are_counted():
    true = segments()
    wrong = (true.filament == 1) | (np.arange(len(true)) == 20)
    turned = replace(
        true,
        psi_deg=np.where(wrong, true.psi_deg + 180, true.psi_deg),
        tilt_deg=np.where(wrong, 180 - true.tilt_deg, true.tilt_deg),
    )
    errors = segment_errors(turned, true, HELIX)
    assert np.array_equal(errors.is_wrong, wrong)
    assert errors.is_wrong_filament.tolist() == [False, True, False, False, False, False]
    counts = errors.summary()
    assert (counts["segments_wrong"], counts["filaments_wrong"], counts["filaments"]) == (9, 1, 6)
    assert errors.angle_deg[wrong].min() > 170
    assert errors.angle_deg[~wrong].max() < 1e-5


def test_a_wrong_twist_stays_an_error_along_each_filament():
    """Rot that turns by 1 degree a unit too much: 2 degrees from one segment to the next, whatever the common turn."""
    true = segments()
    extra = np.tile(2.0 * np.arange(SEGMENTS), FILAMENTS) * np.where(true.filament >= 4, -1, 1)
    errors = segment_errors(replace(true, rot_deg=true.rot_deg + extra), true, HELIX)
    np.testing.assert_allclose(np.diff(errors.rot_deg.reshape(FILAMENTS, -1))[:4], 2, atol=1e-9)
    assert errors.summary()["rot_deg_rms"] > 4


def test_segments_without_tracks_are_refused():
    with pytest.raises(ValueError, match="segments without tracks have no polarity"):
        segment_errors(replace(segments(), track_psi_deg=None), segments(), HELIX)


def helix_of(turn_deg=0.0, lift_angst=0.0, over=False, twist_deg=50.0):
    """A map of two Gaussians a unit, moved as a whole before it is made."""
    made = load_settings(
        None,
        {
            "filaments": {"rise_angst": 20, "twist_deg": twist_deg, "radius_angst": 20},
            "imaging": {"box_px": BOX, "pixel_size_angst": PIXEL, "envelope_bfactor_angst2": 0},
        },
    )
    place = torch.tensor([[28.0, 9.0, 3.0], [12.0, -24.0, -4.0]], dtype=torch.float64)
    if over:
        place = place * torch.tensor([1.0, -1.0, -1.0])
    cosine, sine = math.cos(math.radians(turn_deg)), math.sin(math.radians(turn_deg))
    about_z = torch.tensor([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]], dtype=torch.float64)
    place = place @ about_z.T + torch.tensor([0, 0, lift_angst])
    one, width = torch.ones(2, 1, dtype=torch.float64), torch.full((2, 1), 1500.0, dtype=torch.float64)
    return helix_map(Unit(place, one, width), Helix(20.0, twist_deg), made)


def mask():
    axis = torch.arange(BOX) - BOX // 2.0
    tube = torch.hypot(axis[:, None], axis) < 14
    return tube * (axis.abs() < 10)[:, None, None].float()


@pytest.mark.parametrize(("turn_deg", "lift_angst", "over"), [(0, 0, False), (77.3, 5.2, False), (-30.5, -7.0, True)])
def test_the_map_is_laid_onto_the_true_one(turn_deg, lift_angst, over):
    truth, found = helix_of(), helix_of(turn_deg, lift_angst, over)
    drift = helix_drift(found, truth, mask(), PIXEL, 20.0)
    assert abs(float(drift.shift_angst[2])) <= 10 + PIXEL
    true = segments()
    record = compare_helix_with_truth(found, true, TrueHelix(truth, mask(), true, HELIX), PIXEL)
    assert min(record["fsc"][1:12]) > 0.99
    assert record["poses"]["segments_wrong"] == 0


def test_a_wrong_twist_is_not_aligned_away():
    truth, wrong = helix_of(), helix_of(twist_deg=58)
    true = segments()
    record = compare_helix_with_truth(wrong, true, TrueHelix(truth, mask(), true, HELIX), PIXEL)
    assert min(record["fsc"][1:12]) < 0.7
