"""What filaments say after an iteration, on segments without images."""

from dataclasses import replace

import numpy as np
import pytest
from filament_steps import REVERSED, TRUE, N, found, particles, step

from blush.geometry.helix import Helix, in_frame
from blush.jobs.helix_columns import canonical, first_columns, first_log_odds, nearest_alike, pose_of, resampled
from blush.refine.changes import pose_change, rotations
from blush.refine.control import HelixControl


def test_polarity_twist_and_rot_are_told_from_a_twist_3_degrees_off():
    of = particles()
    columns = found(of, 1, 8.0, 48)
    state = step(columns, of, Helix(21.0, 34.0), twist_range_deg=(30, 44)).told()
    control = state.control_of(HelixControl)
    assert control.twist_deg == pytest.approx(37, abs=4 * control.slope_error_deg_per_angst * 21)
    assert control.slope_error_deg_per_angst * 21 < 0.2
    assert np.array_equal(columns["polarity_log_odds"] < 0, REVERSED[of.filament])
    assert np.abs(columns["polarity_log_odds"]).min() > 10
    assert "rot_evidence" not in columns
    best = columns["rot_log_prior"].reshape(N, -1).argmax(1)
    sign = 1 - 2 * REVERSED[of.filament]
    along = in_frame(pose_of(columns)[:, 3:], columns["psi_deg"])[:, 0] * sign
    rho = columns["rot_deg"] + sign * control.helix.slope_deg_per_angst * along
    gap = (best % 48 * 7.5 - rho + 180) % 360 - 180
    assert np.array_equal(best // 48 == 1, REVERSED[of.filament])
    assert np.sqrt(np.mean(gap**2)) < 12


def test_a_twist_that_is_not_searched_is_kept_and_the_rise_is_that_of_the_maps():
    of = particles()
    one = step(found(of, 1, 8.0, 48), of, Helix(21.5, 36.0))
    one.spectra = {"rise_angst": np.array(21.2), "twist_deg": np.array(36.0), "at_limit": np.array(["rise_angst"])}
    control = one.told().control_of(HelixControl)
    assert (control.rise_angst, control.twist_deg, control.at_limit) == (21.2, 36.0, ("rise",))
    assert control.slope_error_deg_per_angst is None


def test_a_slope_that_is_known_gives_the_twist_of_a_rise_that_the_maps_moved():
    of = particles()
    one = step(found(of, 1, 8.0, 48), of, Helix(22.0, 38.0), twist_range_deg=(30, 44))
    one.spectra = {"rise_angst": np.array(21.0), "twist_deg": np.array(36.2), "at_limit": np.array([], dtype="U4")}
    assert one.told().control_of(HelixControl).twist_deg == pytest.approx(37, abs=0.4)


def test_a_screw_has_the_twist_that_its_slow_twist_means():
    """2_1: -180.6 degrees a half-rung are -1.2 a rung, and bins are those of 180 degrees."""
    of, true = particles(), Helix(2.375, -180.6)
    one = step(found(of, 1, 8.0, 24, true), of, Helix(2.375, -180.3), twist_range_deg=(-181.5, -179.9))
    one.spectra = {"rise_angst": np.array(2.4), "twist_deg": np.array(-180.2)}
    control = one.told().control_of(HelixControl)
    slope = (control.twist_deg + 180) / control.rise_angst
    assert slope == pytest.approx(true.slope_deg_per_angst, abs=4 * control.slope_error_deg_per_angst)
    assert control.slope_error_deg_per_angst < 0.01


def test_a_limit_of_the_twist_is_told():
    of = particles()
    control = step(found(of, 1, 8.0, 48), of, Helix(21.0, 34.0), twist_range_deg=(33, 36)).told().control
    assert (control.twist_deg, control.at_limit) == (36.0, ("twist",))


def test_the_last_iteration_leaves_the_symmetry_of_its_maps():
    of = particles()
    one = step(found(of, 1, 8.0, 48), of, Helix(21.0, 36.0), twist_range_deg=(30, 44))
    one.before = replace(one.before, final=True)
    one.state = replace(one.state, control=replace(one.state.control, slope_error_deg_per_angst=0.01))
    one.spectra = {"rise_angst": np.array(21.0), "twist_deg": np.array(36.4)}
    control = one.told().control_of(HelixControl)
    assert (control.twist_deg, control.slope_error_deg_per_angst) == (36.4, 0.01)


@pytest.mark.parametrize("changed", [0, 1])
def test_halves_learn_apart(changed):
    """Whatever the segments of one half show, the other is told the same, to the byte: all but the twist is its own."""
    of, kept = particles(), 1 - changed
    first, second = found(of, 1, 8.0, 48), found(of, 1, 8.0, 48)
    other = found(of, 9, 30.0, 48)
    own = of.half == kept + 1
    for name, values in second.items():
        second[name] = np.where(own.reshape(-1, *[1] * (values.ndim - 1)), values, 3 * other[name])
    states = [step(columns, of, TRUE).told() for columns in (first, second)]
    for name, values in first.items():
        assert np.array_equal(values[own], second[name][own], equal_nan=True), name
    assert not np.array_equal(first["rot_log_prior"][~own], second["rot_log_prior"][~own])
    widths = [
        {name: getattr(state.control, name) for name in ("walk_deg2_per_angst", "sigma_psi_deg", "sigma_tilt_deg")}
        | {"sigma_offset_angst": state.images.sigma_offset_angst}
        for state in states
    ]
    for name, values in widths[0].items():
        assert values[kept] == widths[1][name][kept], name
        assert values[changed] != widths[1][name][changed], name


def test_the_same_columns_give_the_same_bytes_and_rows_may_be_in_any_order():
    of = particles()
    columns = [found(of, 1, 8.0, 48) for _ in range(2)]
    order = np.random.default_rng(3).permutation(N)
    mixed = {name: values[order] for name, values in found(of, 1, 8.0, 48).items()}
    settings = {"twist_range_deg": (30, 44)}
    states = [step(one, of, Helix(21.0, 34.0), **settings).told() for one in columns]
    assert states[0] == states[1]
    other = step(mixed, of.take(order), Helix(21.0, 34.0), **settings).told()
    assert other.control_of(HelixControl).twist_deg == states[0].control.twist_deg
    for name, values in columns[0].items():
        assert np.array_equal(values, columns[1][name], equal_nan=True), name
        assert np.array_equal(values[order], mixed[name], equal_nan=True), name


def test_the_width_across_has_one_degree_of_freedom_and_is_about_what_was_expected():
    of = particles()
    columns = found(of, 1, 8.0, 48)
    one = step(columns, of, TRUE)
    one.old["filament_prior"][:, 2] = 2.0
    across = columns["across_mean"].copy()
    found_widths = one.told().images.sigma_offset_angst
    for half, width in zip((1, 2), found_widths, strict=True):
        own = of.half == half
        assert width == pytest.approx(np.sqrt(np.mean((across[own] - 2.0) ** 2) + 1.0))


def test_widths_of_tracks_are_learned():
    of = particles()
    control = step(found(of, 1, 8.0, 48), of, TRUE).told().control_of(HelixControl)
    assert control.sigma_psi_deg == pytest.approx([1.11, 1.11], abs=0.15)  # scatter of 1, at least a third of 3.33
    assert control.sigma_tilt_deg == pytest.approx([2.0, 2.0], abs=0.4)


def test_canonical_poses_show_the_same_points_of_a_helix():
    """Points of an ideal helix, projected by either pose and shifted, are the same set."""
    h = np.arange(-40, 41)
    phase = np.radians(20 + 37 * h)
    points = np.stack((30 * np.cos(phase), 30 * np.sin(phase), 21.0 * h), 1)
    track = np.array([15.0, -120.0])
    poses = np.array([[33.0, 90.0, 16.0, 40.0, -31.0], [140.0, 90.0, 61.0, -70.0, 22.0]])  # polarity 0, and 1
    moved = canonical(poses, track, TRUE)
    axis = np.array([16.0, -119.0])
    along = in_frame(moved[:, 3:], axis)
    assert (np.abs(along[:, 0]) <= 10.5).all()
    assert along[:, 1] == pytest.approx(in_frame(poses[:, 3:], axis)[:, 1])
    for old, new in zip(poses, moved, strict=True):
        seen = [shown(points, pose) for pose in (old, new)]
        middle = [one[np.hypot(*one.T) < 300] for one in seen]
        gap = np.hypot(*(middle[0][:, None] - middle[1]).transpose(2, 0, 1)).min(1)
        assert len(middle[0]) > 20
        assert gap.max() < 1e-6


def shown(points: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Where points are in an image of a pose: its offset centres it, so that the particle lies against it."""
    names = ("rot_deg", "tilt_deg", "psi_deg")
    turn = rotations({name: pose[k : k + 1] for k, name in enumerate(names)})[0]
    return (points @ turn.T)[:, :2] - pose[3:]


def test_poses_are_compared_as_the_nearest_of_those_that_show_the_same():
    track = np.array([15.0])
    old = np.array([[33.0, 90.0, 16.0, *(10.4 * np.array([np.cos(0.28), -np.sin(0.28)]))]])
    moved = old + np.array([0, 0, 0, 0.3, 0])
    new = canonical(moved, track, TRUE)
    assert np.abs(new - old).max() > 15
    assert nearest_alike(new, old, track, TRUE, 40.0) == pytest.approx(moved, abs=1e-9)


@pytest.mark.parametrize("moved_angst", [-1.5, -0.4, 0.4, 1.5])
@pytest.mark.parametrize("reversed_deg", [0.0, 180.0])
@pytest.mark.parametrize("helix", [Helix(2.375, -180.6), Helix(4.75, -1.2, 2), Helix(21.0, 37.0)])
def test_a_small_move_along_a_screw_is_compared_as_one_and_as_no_half_turn(helix, reversed_deg, moved_angst):
    """Moved by more than half of a rise of 2.4 Å, with rot as it was, poses are nearer than half a turn away."""
    track, axis = np.full(6, 15.0), np.array([np.cos(np.radians(15.0)), -np.sin(np.radians(15.0))])
    old = np.array([[rot, 90.0, 15.0 + reversed_deg, *(0.9 * axis)] for rot in (-170.0, -90.0, 0.0, 33.0, 90.0, 179.0)])
    moved = old + np.array([1.0, 0, 0, *(moved_angst * axis)])
    new = canonical(moved, track, helix)
    found = nearest_alike(new, old, track, helix, 35.0)
    names = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")
    turns = [np.radians(360 / helix.fold * k) for k in range(helix.fold)]
    group = np.array([[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in turns])
    change = pose_change(dict(zip(names, old.T, strict=True)), dict(zip(names, found.T, strict=True)), group)
    assert change.rotation_deg < 3
    assert change.offset_angst < 1.7


def test_unknown_poses_stay_unknown():
    poses = np.full((3, 2, 5), np.nan)
    poses[:, 0] = [10.0, 90.0, 5.0, 30.0, 2.0]
    moved = canonical(poses, np.zeros((3, 1)), TRUE)
    assert np.isnan(moved[:, 1]).all()
    assert np.isfinite(moved[:, 0]).all()


def test_the_first_columns_are_those_of_the_track_and_the_polarity_of_the_table():
    of = replace(particles(), psi_flip_ratio=np.where(particles().filament == 2, 0.1, 0.5))
    columns = first_columns(of, 24)
    assert first_log_odds(of)[of.filament == 2] == pytest.approx(np.full(12, np.log(9)))
    shares = np.exp(columns["rot_log_prior"]).mean(2) / 2
    assert shares[of.filament == 2] == pytest.approx(np.tile([0.9, 0.1], (12, 1)), abs=1e-6)
    assert shares[of.filament == 5] == pytest.approx(np.full((12, 2), 0.5), abs=1e-6)
    assert np.array_equal(columns["filament_prior"][:, 0], of.track_psi_deg)
    assert np.isnan(columns["polarity_pose"]).all()


def test_given_poses_begin_as_those_of_their_polarity():
    of = particles()
    against = REVERSED[of.filament]
    psi = of.track_psi_deg + np.where(against, 175.0, 4.0)
    columns = first_columns(replace(of, has_poses=True, psi_deg=psi), 24)
    assert np.array_equal(np.isnan(columns["polarity_pose"]).any(2), np.stack((against, ~against), 1))


def test_a_table_in_finer_bins_is_the_same_function():
    coarse = np.cos(2 * np.pi * np.arange(24) / 24)[None, None].repeat(2, 1).astype(np.float32)
    fine = resampled(coarse, 96)
    assert fine[..., ::4] == pytest.approx(coarse)
    assert fine[0, 0] == pytest.approx(np.cos(2 * np.pi * np.arange(96) / 96), abs=0.01)
