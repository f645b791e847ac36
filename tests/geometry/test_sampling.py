"""Grids of orientations and offsets."""

import pytest
import torch

from blush.geometry.healpix import pixel_directions
from blush.geometry.rotation import angular_distance_deg, direction, euler_from_matrix, matrix_from_euler
from blush.geometry.sampling import OrientationGrid, fine_offsets, frame_offsets, offset_grid


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_full_grid_holds_directions_times_psi(order):
    grid = OrientationGrid.build(order)
    assert grid.n_directions == 12 * 4**order
    assert grid.n_psi == 6 * 2**order
    assert grid.n_orientations == grid.n_directions * grid.n_psi


def test_psi_runs_fastest_and_starts_at_zero():
    grid = OrientationGrid.build(1, "D2")
    eulers = euler_from_matrix(grid.matrices(torch.arange(grid.n_orientations))).reshape(
        grid.n_directions, grid.n_psi, 3
    )
    expected = (torch.arange(grid.n_psi) * 30.0 + 180) % 360 - 180
    torch.testing.assert_close((eulers[0, :, 2] + 180) % 360 - 180, expected.double(), atol=1e-9, rtol=0)
    assert eulers[:, :, 1].std(1).max() < 1e-9


@pytest.mark.parametrize("perturbation", [0.0, 0.37])
def test_children_average_to_their_parent(perturbation):
    """8 children; psi children lie a quarter step to either side of the parent's psi."""
    grid = OrientationGrid.build(2, perturbation=perturbation)
    index = torch.arange(0, grid.n_orientations, 7)
    fine, coarse = grid.fine_matrices(index), grid.matrices(index)
    assert fine.shape == (len(index), 8, 3, 3)
    u, _, vt = torch.linalg.svd(fine.mean(1))
    off_deg = angular_distance_deg(u @ vt, coarse)
    # At the poles the four pixels' frames turn around the parent, which shifts their mean.
    assert off_deg.median() < 0.05 * grid.psi_step_deg
    assert off_deg.max() < 0.6 * grid.psi_step_deg


def test_children_without_perturbation_halve_psi():
    grid = OrientationGrid.build(2)
    index = torch.tensor([5, 100])
    psi = euler_from_matrix(grid.fine_matrices(index))[:, :, 2].reshape(2, 4, 2)
    parent = (index % grid.n_psi * grid.psi_step_deg).double()
    torch.testing.assert_close(psi % 360, (parent[:, None, None] + torch.tensor([-3.75, 3.75])).expand(2, 4, 2) % 360)


def test_oversampling_twice_is_the_grid_two_orders_finer_in_direction():
    grid = OrientationGrid.build(0)
    fine = grid.fine_matrices(torch.arange(grid.n_orientations), 2)
    assert fine.shape == (grid.n_orientations, 64, 3, 3)
    views = fine[:: grid.n_psi, ::4, 2].reshape(-1, 3)
    torch.testing.assert_close(views, direction(*pixel_directions(2)))


def test_perturbation_multiplies_from_the_right_by_equal_angles():
    still, moved = OrientationGrid.build(1), OrientationGrid.build(1, perturbation=-0.3)
    index = torch.arange(still.n_orientations)
    turn = matrix_from_euler(torch.full((3,), -9.0, dtype=torch.float64))
    torch.testing.assert_close(moved.matrices(index), still.matrices(index) @ turn)


@pytest.mark.parametrize(("radius", "step", "count"), [(5, 2, 21), (0, 1, 1), (1, 1, 5), (2, 1, 13), (0.4, 1, 1)])
def test_offsets_fill_a_disc_with_its_edge(radius, step, count):
    grid = offset_grid(radius, step)
    assert grid.shape == (count, 2)
    assert (grid == 0).all(1).sum() == 1
    assert len(grid.unique(dim=0)) == count


def test_fine_offsets_tile_the_coarse_cell():
    grid = offset_grid(4, 2)
    fine = fine_offsets(grid, 2)
    assert fine.shape == (len(grid), 4, 2)
    torch.testing.assert_close(fine.mean(1), grid)
    assert ((fine - grid[:, None]).abs() == 0.5).all()
    assert len(fine.reshape(-1, 2).unique(dim=0)) == 4 * len(grid)


def test_a_step_of_zero_is_refused():
    with pytest.raises(ValueError, match="step 0"):
        offset_grid(3, 0)


def test_offsets_along_a_filament_cover_its_rise_once():
    """Their children are evenly spaced and repeat after the rise; those across are multiples of their step."""
    grid, step = frame_offsets((10.5, 4.0), (7.0, 3.0))
    assert step == pytest.approx(3.5)
    assert grid[:, 1].unique().tolist() == [-6.0, -3.0, 0.0, 3.0, 6.0]
    along = fine_offsets(grid, (step, 3.0))[..., 0].unique()
    assert len(along) == 12
    torch.testing.assert_close(along.diff(), torch.full((11,), 1.75).double())
    assert float(along[0] + 21 - along[-1]) == pytest.approx(1.75)
    assert frame_offsets((0.0, 2.0), (0.0, 1.0))[0].tolist() == [[0.0, 0.0]]
    assert fine_offsets(grid, (step, 3.0))[0, :, 1].tolist() == [-6.75, -5.25, -6.75, -5.25]


@pytest.mark.parametrize("lines", [((-1.0, 1.0), (1.0, 1.0)), ((1.0, 0.0), (1.0, 1.0)), ((1.0, 1.0), (1.0, 0.0))])
def test_offsets_along_a_filament_need_ranges_and_steps(lines):
    with pytest.raises(ValueError, match="must not be negative"):
        frame_offsets(*lines)
