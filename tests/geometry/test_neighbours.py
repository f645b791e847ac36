"""Local search: which orientations, and their prior."""

import math

import pytest
import torch

from blush.geometry import neighbours
from blush.geometry.directions import DirectionTree
from blush.geometry.healpix import pixel_directions
from blush.geometry.rotation import angular_distance_deg, direction, euler_from_matrix, matrix_from_euler
from blush.geometry.sampling import OrientationGrid
from blush.geometry.symmetry import asymmetric_unit_directions, operators


def random_eulers(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([360.0, 180, 360])


CASES = [(2, "C1", 0.0), (2, "C1", 0.4), (3, "D2", -0.2), (2, "O", 0.3), (3, "I", 0.1)]


@pytest.mark.parametrize(("order", "symmetry", "perturbation"), CASES)
def test_rows_are_distributions_over_distinct_orientations(order, symmetry, perturbation):
    grid = OrientationGrid.build(order, symmetry, perturbation)
    index, log_prior = grid.local_neighbours(*random_eulers(200).T, sigma_deg=grid.psi_step_deg)
    torch.testing.assert_close(log_prior.exp().sum(1), torch.ones(200).double())
    assert torch.equal(index < 0, log_prior.isinf())
    assert index.max() < grid.n_orientations
    ascending = index.diff(dim=1) > 0
    assert (ascending | (index[:, 1:] < 0)).all()


@pytest.mark.parametrize(("order", "symmetry", "perturbation"), CASES)
def test_the_search_finds_what_is_near_and_nothing_else(order, symmetry, perturbation):
    """Every orientation within the cut by geodesic angle is in; none is farther than both cuts together."""
    grid = OrientationGrid.build(order, symmetry, perturbation)
    eulers = random_eulers(40, seed=1)
    step = grid.psi_step_deg
    index, _ = grid.local_neighbours(*eulers.T, sigma_deg=step, cut=2.0)
    every = grid.matrices(torch.arange(grid.n_orientations))
    prior = matrix_from_euler(eulers)
    shape = (len(prior), len(every), 3, 3)
    distance = angular_distance_deg(prior[:, None].expand(shape), every.expand(shape), operators(symmetry))
    member = torch.zeros(distance.shape, dtype=torch.bool)
    member.scatter_(1, index.clamp(min=0), True)
    spurious_zero = (index == 0).sum(1) == 0
    member[spurious_zero, 0] = False
    # A geodesic angle bounds the angle of the directions and, to third order, the angle in plane.
    assert member[distance < 0.98 * 2 * step].all()
    assert distance[member].max() < math.sqrt(2) * 2 * step * 1.01


@pytest.mark.parametrize(("order", "symmetry", "perturbation"), CASES)
def test_symmetry_mates_of_the_prior_give_the_same_neighbours(order, symmetry, perturbation):
    grid = OrientationGrid.build(order, symmetry, perturbation)
    prior = matrix_from_euler(random_eulers(10, seed=2))
    group = operators(symmetry)
    mates = euler_from_matrix(prior @ group[-1])
    first = grid.local_neighbours(*euler_from_matrix(prior).T, sigma_deg=0.9 * grid.psi_step_deg)
    second = grid.local_neighbours(*mates.T, sigma_deg=0.9 * grid.psi_step_deg)
    assert torch.equal(first[0], second[0])
    torch.testing.assert_close(first[1], second[1], atol=1e-9, rtol=0)


def test_a_grid_node_is_its_own_most_likely_neighbour():
    grid = OrientationGrid.build(2, "D2", 0.25)
    nodes = torch.arange(0, grid.n_orientations, 5)
    index, log_prior = grid.local_neighbours(*euler_from_matrix(grid.matrices(nodes)).T, sigma_deg=grid.psi_step_deg)
    assert torch.equal(index.gather(1, log_prior.argmax(1, keepdim=True))[:, 0], nodes)


def test_the_prior_is_gaussian_in_the_angle_in_plane():
    """One step of psi at sigma = step is worth a factor exp(-1/2)."""
    grid = OrientationGrid.build(2)
    node = torch.tensor([24 * 10 + 7])
    index, log_prior = grid.local_neighbours(*euler_from_matrix(grid.matrices(node)).T, sigma_deg=grid.psi_step_deg)
    here, beside = (log_prior[index == node + k] for k in (0, 1))
    torch.testing.assert_close(here - beside, torch.tensor([0.5]).double())


def test_a_search_narrower_than_the_grid_takes_the_nearest_orientation():
    grid = OrientationGrid.build(1, "C2", 0.1)
    eulers = random_eulers(30, seed=3)
    index, log_prior = grid.local_neighbours(*eulers.T, sigma_deg=1e-3)
    assert index.shape == (30, 1)
    assert (log_prior == 0).all()
    distance = angular_distance_deg(grid.matrices(index[:, 0]), matrix_from_euler(eulers), operators("C2"))
    assert distance.max() < 1.5 * grid.psi_step_deg


def test_a_search_as_wide_as_everything_takes_every_orientation():
    grid = OrientationGrid.build(0)
    index, log_prior = grid.local_neighbours(*random_eulers(3).T, sigma_deg=100.0)
    assert torch.equal(index, torch.arange(grid.n_orientations).expand(3, -1))
    torch.testing.assert_close(log_prior.exp().sum(1), torch.ones(3).double())


def test_chunks_do_not_change_the_answer(monkeypatch):
    grid = OrientationGrid.build(2, "D2", 0.2)
    eulers = random_eulers(50, seed=4)
    whole = grid.local_neighbours(*eulers.T, sigma_deg=15.0)
    monkeypatch.setattr(neighbours, "_CHUNK_ELEMENTS", 7 * 4 * grid.n_directions)  # a few particles at a time
    parts = grid.local_neighbours(*eulers.T, sigma_deg=15.0)
    assert torch.equal(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1])


def test_no_particle_is_no_error():
    index, log_prior = OrientationGrid.build(1).local_neighbours(*random_eulers(0).T, sigma_deg=10.0)
    assert index.shape == log_prior.shape == (0, 0)


def test_a_sigma_of_zero_is_refused():
    with pytest.raises(ValueError, match="sigma 0"):
        OrientationGrid.build(1).local_neighbours(*random_eulers(1).T, sigma_deg=0)


@pytest.mark.parametrize(
    ("order", "symmetry", "limit"), [(0, "C1", 40.0), (3, "C1", 5.0), (5, "D2", 4.0), (4, "I", 1e-3)]
)
def test_the_tree_finds_the_directions_that_a_full_search_finds(order, symmetry, limit):
    index = asymmetric_unit_directions(order, symmetry)
    tree = DirectionTree.build(order, index)
    views = matrix_from_euler(random_eulers(300, seed=5))[:, 2].reshape(100, 3, 3)
    found = torch.zeros(100, 3, len(index), dtype=torch.bool)
    found[tree.near(views, limit)] = True
    cosine = views @ direction(*pixel_directions(order, index)).T
    expected = cosine >= math.cos(math.radians(limit))
    alone = ~expected.flatten(1).any(1)
    expected.view(100, -1)[alone, cosine.flatten(1)[alone].argmax(1)] = True
    assert torch.equal(found, expected)
