"""Euler angles against closed forms and scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from blush.geometry.rotation import (
    angular_distance_deg,
    direction,
    euler_from_matrix,
    matrix_from_euler,
)
from blush.geometry.symmetry import operators


def random_eulers(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 720 * torch.rand(n, 3, generator=generator, dtype=torch.float64) - 360


def test_rot_turns_the_x_axis_of_the_volume_towards_minus_y_of_the_image():
    """A(90, 0, 0) = Rz(90) = [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]."""
    expected = torch.tensor([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=torch.float64)
    matrix = matrix_from_euler(torch.tensor([90.0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(matrix, expected, atol=1e-15, rtol=0)


def test_matrices_equal_scipys_intrinsic_zyz_transposed():
    """Scipy's rotations are active, ours of the frame: A(rot, tilt, psi) = [Rz(rot) Ry(tilt) Rz(psi)]^T."""
    eulers = random_eulers(200)
    scipy = Rotation.from_euler("ZYZ", eulers.numpy(), degrees=True).as_matrix().transpose(0, 2, 1)
    np.testing.assert_allclose(matrix_from_euler(eulers).numpy(), scipy, atol=1e-14)


def test_third_row_is_the_viewing_direction():
    eulers = random_eulers(50)
    torch.testing.assert_close(matrix_from_euler(eulers)[:, 2], direction(eulers[:, 0], eulers[:, 1]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euler_from_matrix_undoes_matrix_from_euler(dtype):
    matrix = matrix_from_euler(random_eulers(500)).to(dtype)
    again = matrix_from_euler(euler_from_matrix(matrix))
    assert again.dtype == dtype
    assert (again - matrix).abs().max() < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("tilt", [0.0, 180.0, 1e-9, 180 - 1e-9])
def test_euler_from_matrix_is_exact_at_the_poles(tilt):
    eulers = random_eulers(100)
    eulers[:, 1] = tilt
    matrix = matrix_from_euler(eulers)
    assert (matrix_from_euler(euler_from_matrix(matrix)) - matrix).abs().max() < 1e-14


@pytest.mark.parametrize("angle", [1e-7, 1e-3, 1.0, 90.0, 180.0])
def test_angular_distance_is_the_angle_turned(angle):
    first = matrix_from_euler(random_eulers(20))
    turn = torch.from_numpy(Rotation.from_rotvec([[0.6 * angle, 0, 0.8 * angle]], degrees=True).as_matrix())
    # The arc sine is flat at 180 degrees, where a chord error of eps costs the root of eps.
    tolerance = 1e-5 if angle == 180 else 1e-12
    torch.testing.assert_close(
        angular_distance_deg(turn @ first, first), torch.full((20,), angle).double(), atol=tolerance, rtol=1e-7
    )


@pytest.mark.parametrize("name", ["C3", "D2", "T", "O", "I"])
def test_symmetry_mates_are_no_distance_apart(name):
    group = operators(name)
    orientation = matrix_from_euler(random_eulers(len(group)))
    assert angular_distance_deg(orientation @ group, orientation, group).max() < 1e-6


def test_no_particle_is_no_error():
    empty = matrix_from_euler(torch.zeros(0, 3, dtype=torch.float64))
    assert angular_distance_deg(empty, empty).shape == (0,)
    assert euler_from_matrix(empty).shape == (0, 3)
