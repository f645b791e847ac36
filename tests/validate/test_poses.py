"""Pose errors where every error was put in by hand."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.geometry.symmetry import operators
from blush.io.particles import ParticleSet
from blush.validate.poses import common_rotation, offsets, pose_errors, rotations


def particle_set(matrices, shifts):
    euler = euler_from_matrix(matrices).numpy()
    n = len(euler)
    zeros = {f.name: np.zeros(n) for f in dataclasses.fields(ParticleSet)}
    poses = {"rot_deg": euler[:, 0], "tilt_deg": euler[:, 1], "psi_deg": euler[:, 2]}
    shifts = {"offset_x_angst": shifts[:, 0].numpy(), "offset_y_angst": shifts[:, 1].numpy()}
    return ParticleSet(**zeros | poses | shifts | {"stacks": (), "optics": (), "has_poses": True})


def random_rotations(n, seed):
    generator = torch.Generator().manual_seed(seed)
    quaternion = torch.nn.functional.normalize(torch.randn(n, 4, generator=generator, dtype=torch.float64), dim=1)
    w, x, y, z = quaternion.unbind(1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), 2 * (x * y + z * w),
            1 - 2 * (x * x + z * z), 2 * (y * z - x * w), 2 * (x * z - y * w), 2 * (y * z + x * w),
            1 - 2 * (x * x + y * y)]  # fmt: skip
    return torch.stack(rows, 1).view(n, 3, 3)


def turn(angle_deg, seed, n):
    """(n, 3, 3) in-plane rotations by plus or minus the angle: every pose errs by exactly that."""
    sign = torch.where(torch.rand(n, generator=torch.Generator().manual_seed(seed)) < 0.5, -1.0, 1.0).double()
    return matrix_from_euler(torch.stack([torch.zeros(n).double(), torch.zeros(n).double(), angle_deg * sign], 1))


def random_shifts(n, seed):
    return 5 * torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_perfect_poses_have_no_error():
    poses = particle_set(random_rotations(50, 1), random_shifts(50, 2))
    errors = pose_errors(poses, poses)
    assert float(errors.angle_deg.max()) < 1e-6
    assert float(errors.shift_angst.max()) < 1e-9
    assert errors.summary()["drift_deg"] < 1e-6


@pytest.mark.parametrize("symmetry", ["C1", "C4", "D2", "O"])
@pytest.mark.parametrize("drift_deg", [0.0, 3.0, 170.0])
def test_drift_of_the_whole_map_is_not_an_error_of_poses(symmetry, drift_deg):
    """found = true S R, with a random symmetry operator S per particle; offsets follow x_true = R x + c."""
    n, group = 200, operators(symmetry)
    true, shifts = random_rotations(n, 3), random_shifts(n, 4)
    # Under symmetry, a drift must map the group onto itself for the map to keep its symmetry: a turn about z for Cn.
    axis = torch.tensor([[drift_deg, 0.0, 0.0]] if symmetry != "C1" else [[20.0, drift_deg, 40.0]]).double()
    rotation = matrix_from_euler(axis)[0]
    drift = torch.tensor([0.0, 0.0, 4.0]).double() if symmetry == "C4" else torch.tensor([1.0, -2.0, 3.0]).double()
    if symmetry in ("D2", "O"):
        drift = torch.zeros(3).double()
        rotation = matrix_from_euler(torch.tensor([[90.0 if drift_deg else 0.0, 0.0, 0.0]]).double())[0]
    mates = group[torch.randint(len(group), (n,), generator=torch.Generator().manual_seed(5))]
    found = true @ mates @ rotation
    moved = shifts - ((true @ mates)[:, :2] @ drift[:, None])[..., 0]
    errors = pose_errors(particle_set(found, moved), particle_set(true, shifts), symmetry)
    assert float(errors.angle_deg.max()) < 1e-5
    assert float(errors.shift_angst.max()) < 1e-6
    if symmetry in ("C1", "C4"):
        torch.testing.assert_close(errors.drift.shift_angst, drift, atol=1e-6, rtol=0)
    if symmetry == "C1":
        torch.testing.assert_close(errors.drift.rotation, rotation, atol=1e-8, rtol=0)


def test_errors_put_in_are_errors_found():
    n = 400
    true, shifts = random_rotations(n, 6), random_shifts(n, 7)
    angle = torch.linspace(0, 2 * math.pi, n).double()
    wrong = shifts + 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    errors = pose_errors(particle_set(turn(2.0, 8, n) @ true, wrong), particle_set(true, shifts))
    # The common rotation is known to the error over sqrt(n), 0.1°.
    assert float(errors.angle_deg.median()) == pytest.approx(2.0, abs=0.15)
    assert errors.summary()["shift_median_angst"] == pytest.approx(1.5, abs=0.15)
    assert errors.summary()["within_5_deg"] == 1


def test_a_third_of_random_poses_does_not_move_the_common_rotation():
    n = 300
    true = random_rotations(n, 9)
    rotation = matrix_from_euler(torch.tensor([[10.0, 25.0, -30.0]]).double())[0]
    found = true @ rotation
    found[::3] = random_rotations(n // 3, 10)
    torch.testing.assert_close(common_rotation(found, true, operators("C1")), rotation, atol=1e-8, rtol=0)
    errors = pose_errors(particle_set(found, random_shifts(n, 1)), particle_set(true, random_shifts(n, 1)))
    assert float(errors.angle_deg.median()) < 1e-5
    assert 0.6 < errors.summary()["within_5_deg"] < 0.7


def test_random_poses_choose_no_drift_of_their_own():
    found, true = (particle_set(random_rotations(300, seed), random_shifts(300, seed)) for seed in (14, 15))
    errors = pose_errors(found, true, "D2")
    assert errors.summary()["drift_deg"] == 0
    assert errors.summary()["drift_angst"] == 0
    assert float(errors.angle_deg.median()) > 40


def test_mirrored_poses_cannot_be_explained_by_a_rotation():
    """The wrong hand: directions point-inverted, image flipped. No drift makes these poses right."""
    true = random_rotations(200, 11)
    flip = torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    errors = pose_errors(
        particle_set(flip @ true @ flip, random_shifts(200, 1)), particle_set(true, random_shifts(200, 1))
    )
    assert float(errors.angle_deg.median()) > 20


def test_columns_are_read_as_they_are_named():
    poses = particle_set(random_rotations(5, 12), random_shifts(5, 13))
    torch.testing.assert_close(rotations(poses), random_rotations(5, 12))
    torch.testing.assert_close(offsets(poses), random_shifts(5, 13))


def test_sets_of_unequal_length_are_refused():
    one, two = (particle_set(random_rotations(n, 1), random_shifts(n, 2)) for n in (1, 2))
    with pytest.raises(ValueError, match="1 estimated poses"):
        pose_errors(one, two)
