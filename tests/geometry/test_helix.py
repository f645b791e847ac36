"""Rise, twist and frames: each against a closed form, and the signs against density that is projected."""

import math

import numpy as np
import pytest
import torch

from blush.geometry.helix import Helix, from_frame, in_frame, nearest_zero, polarity, reversed_pose
from blush.geometry.rotation import matrix_from_euler


def helix_points(helix: Helix, count: int, radius_angst: float = 30.0, height_angst: float = 2.0) -> np.ndarray:
    """One point of each of the units -count to count: (2 count + 1, 3) x y z."""
    h = np.arange(-count, count + 1)
    q = np.deg2rad(25.0 + h * helix.twist_deg)
    return np.stack((radius_angst * np.cos(q), radius_angst * np.sin(q), height_angst + h * helix.rise_angst), -1)


def seen(points: np.ndarray, euler_deg: np.ndarray) -> np.ndarray:
    """Where the points of a volume lie in its image: (count, 2)."""
    return (points @ matrix_from_euler(torch.from_numpy(euler_deg)).numpy().T)[:, :2]


@pytest.mark.parametrize(
    ("helix", "slope", "period", "crossover"),
    [
        (Helix(4.75, -1.2), -1.2 / 4.75, 360, 712.5),
        (Helix(4.75, -1.2, 2), -1.2 / 4.75, 180, 712.5),
        (Helix(2.375, -180.6), -1.2 / 4.75, 180, 712.5),
        (Helix(2.375, 179.4), -1.2 / 4.75, 180, 712.5),
        (Helix(2.375, 180.6), 1.2 / 4.75, 180, 712.5),
        (Helix(1.6, 119.0), -3 / 4.8, 120, 288),
        (Helix(21, 37), 37 / 21, 360, 180 * 21 / 37),
        (Helix(1.408, 22.03), 22.03 / 1.408, 360, 180 * 1.408 / 22.03),
        (Helix(10, 119, 3), -0.1, 120, 1800),
        (Helix(10, 0), 0, 360, math.inf),
    ],
)
def test_the_slow_twist_is_that_of_the_flattest_start(helix, slope, period, crossover):
    assert helix.slope_deg_per_angst == pytest.approx(slope, rel=1e-12)
    assert helix.chain_period_deg == pytest.approx(period)
    assert helix.crossover_angst == pytest.approx(crossover, rel=1e-12)
    assert helix.pitch_angst == pytest.approx(2 * crossover, rel=1e-12)


@pytest.mark.parametrize(
    ("count", "h", "weight"),
    [(1, [0], [1]), (3, [-1, 0, 1], [1, 1, 1]), (2, [-1, 0, 1], [0.5, 1, 0.5]), (4, [-2, -1, 0, 1, 2], None)],
)
def test_units_are_symmetric_and_weigh_their_number(count, h, weight):
    found, weights = Helix(20, 30).units(count)
    assert found.tolist() == h
    assert weights.tolist() == (weight or [0.5, 1, 1, 1, 0.5])
    assert (found * weights).sum() == 0
    assert weights.sum() == count


@pytest.mark.parametrize("fold", [0, -1])
def test_what_is_no_helix_is_refused(fold):
    with pytest.raises(ValueError, match=r"fold of 1 or more .* not"):
        Helix(20, 30, fold)
    with pytest.raises(ValueError, match="rise above 0 Å, not 0"):
        Helix(0, 30)
    with pytest.raises(ValueError, match="finite twist"):
        Helix(20, math.nan)
    with pytest.raises(ValueError, match="one unit or more, not 0"):
        Helix(20, 30).units(0)


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_frames_are_those_of_the_track(kind):
    """Along is the direction (cos psi, -sin psi) of the image, and the way back is exact."""
    rng = np.random.default_rng(1)
    psi, offsets = rng.uniform(-180, 180, 50), rng.normal(size=(50, 2))
    along = np.stack((np.cos(np.deg2rad(psi)), -np.sin(np.deg2rad(psi))), -1)
    if kind == "torch":
        psi, offsets, along = map(torch.from_numpy, (psi, offsets, along))
    framed = in_frame(3 * along, psi)
    assert np.allclose(framed, np.array([3.0, 0.0]), atol=1e-12)
    assert type(framed) is type(offsets)
    assert np.allclose(from_frame(in_frame(offsets, psi), psi), offsets, atol=1e-12)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("helix", [Helix(21, 37), Helix(4.75, -1.2), Helix(2.375, -180.6)])
def test_a_segment_further_along_its_track_shows_the_rot_of_the_slope(helix, sign):
    """A box d further along shows each unit d nearer its start.

    The helix moved by -d along the track looks as it does at rot(0) + s slope d, where d is a whole number of the slow
    twist's steps; at the slope of the other sign it does not.
    """
    psi = 33.0
    pose = np.array([12.0, 84.0, psi])
    if sign < 0:
        pose = reversed_pose(pose)
    distance = helix.starts * helix.rise_angst
    points = helix_points(helix, 40)
    # z of the helix moves with -track for polarity 0: the same filament, seen in a box that is `distance` further on.
    seen_in_first = seen(points, pose)
    tilt = np.deg2rad(84.0)
    moved_px = -distance * np.sin(tilt)  # along the track, in the image
    seen_in_second = seen_in_first + moved_px * np.array([np.cos(np.deg2rad(psi)), -np.sin(np.deg2rad(psi))])
    rot = pose[0] + sign * helix.slope_deg_per_angst * distance
    again = seen(points, np.array([rot, pose[1], pose[2]]))
    middle = again[40]
    assert np.linalg.norm(seen_in_second - middle, axis=1).min() < 1e-9
    wrong = seen(points, np.array([pose[0] - sign * helix.slope_deg_per_angst * distance, pose[1], pose[2]]))
    assert np.linalg.norm(seen_in_second - wrong[40], axis=1).min() > 0.05


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("helix", [Helix(21, 37), Helix(4.75, -1.2), Helix(2.375, -180.6)])
def test_canonical_offsets_show_the_same_projection(helix, sign):
    """Rot and the offset along are exchanged along the screw, as offsets move an image."""
    rng = np.random.default_rng(2)
    psi_track = 71.0
    along = rng.uniform(-60, 60, 30)
    rot = rng.uniform(-180, 180, 30)
    new_rot, new_along = helix.canonical(rot, along, np.full(30, sign))
    assert (new_along > -helix.rise_angst / 2).all()
    assert (new_along <= helix.rise_angst / 2).all()
    assert (abs(new_rot) <= 180).all()
    direction = np.array([np.cos(np.deg2rad(psi_track)), -np.sin(np.deg2rad(psi_track))])
    points = helix_points(helix, 80)
    for before, offset, after, moved in zip(rot, along, new_rot, new_along, strict=True):
        tail = [90.0, psi_track] if sign > 0 else [90.0, psi_track + 180]
        old = seen(points, np.array([before, *tail])) - offset * direction  # where the raw image shows the units
        new = seen(points, np.array([after, *tail])) - moved * direction
        centre = old[80]
        assert np.linalg.norm(new - centre, axis=1).min() < 1e-9


def test_the_ends_of_the_canonical_interval_are_told_apart():
    helix = Helix(10.0, 30.0)
    _, along = helix.canonical(np.zeros(4), np.array([5.0, -5.0, 5.001, 15.0]), np.ones(4))
    assert np.allclose(along, [5.0, 5.0, -4.999, 5.0])
    rot, _ = helix.canonical(torch.zeros(1), torch.tensor([15.0]), torch.ones(1))
    assert rot.item() == pytest.approx(30.0)


@pytest.mark.parametrize("helix", [Helix(21, 37), Helix(4.75, -1.2, 2), Helix(2.375, -180.6)])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_reduced_rot_is_the_same_for_all_equal_projections(helix, sign):
    rng = np.random.default_rng(3)
    rot, along, signs = rng.uniform(-180, 180, 40), rng.uniform(-50, 50, 40), np.full(40, sign)
    before = helix.reduced_rot(rot, along, signs)
    after = helix.reduced_rot(*helix.canonical(rot, along, signs), signs)
    assert np.abs(nearest_zero(before - after, helix.chain_period_deg)).max() < 1e-9
    assert ((before >= 0) & (before < helix.chain_period_deg)).all()
    distance = np.arange(40) * 7.3
    ideal = 20 + sign * helix.slope_deg_per_angst * (distance - along)
    line = helix.reduced_rot(ideal, along, signs) - sign * helix.slope_deg_per_angst * distance
    assert np.abs(nearest_zero(line - 20, helix.chain_period_deg)).max() < 1e-9


def test_a_reversed_pose_turns_the_axis_round_and_is_told_by_its_psi():
    pose = torch.tensor([[10.0, 85.0, 40.0], [-20.0, 97.0, 130.0]], dtype=torch.float64)
    axis = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    there = reversed_pose(pose)
    assert torch.allclose(matrix_from_euler(there) @ axis, -(matrix_from_euler(pose) @ axis), atol=1e-12)
    assert torch.allclose(reversed_pose(there), pose)
    track = torch.tensor([45.0, 120.0], dtype=torch.float64)
    assert polarity(pose[:, 2], track).tolist() == [0, 0]
    assert polarity(there[:, 2], track).tolist() == [1, 1]
    assert polarity(np.array([179.0, 0.0]), np.array([-170.0, 91.0])).tolist() == [0, 1]
