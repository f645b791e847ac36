"""Elastic networks: modes against dense algebra, and a hinge that is the slowest of them."""

import numpy as np
import pytest
from phantoms import TWO, atoms

from blush.bodies.domains import divide
from blush.bodies.elastic import Network


def test_modes_are_those_of_the_dense_matrix_of_second_derivatives():
    """E = 1/2 sum of k (|r| - r0)^2 has the derivatives -k n n^T between ends of a spring."""
    draw = np.random.default_rng(2)
    points, weight = draw.uniform(0, 20, (24, 3)), draw.uniform(0.5, 2, 24)
    network = Network.of(points, weight, reach_angst=1e3)
    dense = np.zeros((24, 3, 24, 3))
    for i in range(24):
        for j in range(i):
            n = (points[i] - points[j]) / np.linalg.norm(points[i] - points[j])
            block = np.sqrt(weight[i] * weight[j]) / weight.mean() * np.outer(n, n)
            dense[i, :, i] += block
            dense[j, :, j] += block
            dense[i, :, j] -= block
            dense[j, :, i] -= block
    values, vectors = np.linalg.eigh(dense.reshape(72, 72))
    assert abs(values[:6]).max() < 1e-12
    expected = vectors[:, 6:26] / np.sqrt(values[6:26])
    found = network.modes.reshape(72, -1)
    np.testing.assert_allclose(abs(np.sum(found * expected, 0)), (expected**2).sum(0), rtol=1e-6)


def test_every_node_is_tied_to_its_nearest_however_far():
    points = np.concatenate([np.random.default_rng(0).uniform(0, 10, (40, 3)), [[60.0, 0, 0]]])
    network = Network.of(points, np.ones(41), reach_angst=4.0)
    assert (network.pairs == 40).sum() == 8
    assert (network.pairs[:, 0] < network.pairs[:, 1]).all()
    assert len(np.unique(network.pairs, axis=0)) == len(network.pairs)


def test_ties_across_a_hinge_are_strained_most():
    points, domain = atoms(TWO)
    network = Network.of(points, np.ones(len(points)), reach_angst=13.0)
    first, second = network.pairs.T
    across = domain[first] != domain[second]
    assert across.sum() > 5
    assert np.median(network.strain()[across]) > 5 * np.median(network.strain()[~across])


def test_a_loose_end_is_no_mode():
    """A tail of single atoms swings more slowly than the halves of the body that it hangs from."""
    points, _ = atoms(TWO)
    tail = np.array([[-64 - 3.0 * k, -6, 4] for k in range(25)])
    both = np.concatenate([points, tail])
    network = Network.of(both, np.ones(len(both)), reach_angst=13.0)
    moved = (network.modes**2).sum((1, 2))
    assert moved[: len(points)].sum() > 0.5 * moved.sum()


@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_network_gives_the_same_modes(seed):
    points = np.random.default_rng(seed).uniform(0, 30, (60, 3))
    first, second = (Network.of(points, np.ones(60), 15.0).modes for _ in range(2))
    assert np.array_equal(first, second)


def test_a_bar_bends_where_its_local_resolution_changes():
    """Alone it would be cut in its middle; here the first third is at 5 Å and the rest at 8 Å."""
    grid = np.stack(np.meshgrid(np.arange(24), np.arange(5), np.arange(5), indexing="ij"), -1).reshape(-1, 3) * 6.0
    points = grid + np.random.default_rng(1).uniform(-1, 1, grid.shape)
    first = points[:, 0] < points[:, 0].max() / 3
    networks = [Network.of(points, np.ones(len(points)), 13.0, local) for local in (None, np.where(first, 5.0, 8.0))]
    alone, told = (divide(network, 2)[0].label for network in networks)
    agreement = [max(((label == 1) == first).mean(), ((label == 0) == first).mean()) for label in (alone, told)]
    assert agreement[0] < 0.9
    assert agreement[1] > 0.98
