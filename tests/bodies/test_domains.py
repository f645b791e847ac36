"""Divisions into rigid blocks, of phantoms whose domains are known."""

import numpy as np
import pytest
from phantoms import THREE, TWO, atoms

from blush.bodies.domains import Division, as_division, divide, stands_out
from blush.bodies.elastic import Network


def network(centres) -> tuple[Network, np.ndarray]:
    points, domain = atoms(centres)
    return Network.of(points, np.ones(len(points)), reach_angst=13.0), domain


@pytest.mark.parametrize("centres", [TWO, THREE], ids=["two", "three"])
def test_domains_are_found_and_counted(centres):
    found, domain = network(centres)
    division, shares = divide(found, None)
    assert division.count == len(centres)
    assert (division.label == domain).mean() > 0.98  # both are numbered by size
    assert division.flexible_share < 0.05
    assert stands_out(shares, division.count)
    assert sorted(shares) == [1, 2, 3, 4, 5, 6]


def test_a_number_that_is_asked_for_is_given():
    found, domain = network(THREE)
    division, shares = divide(found, 2)
    assert division.count == 2
    assert sorted(shares) == [1, 2]
    together = [
        np.unique(division.label[domain == b], return_counts=True)[1].max() / (domain == b).sum() for b in range(3)
    ]
    assert min(together) > 0.9  # no domain is cut


def test_a_ball_has_no_division_that_stands_out():
    points, domain = atoms(TWO)
    ball = points[domain == 0]
    division, shares = divide(Network.of(ball, np.ones(len(ball)), reach_angst=13.0), None)
    assert division.flexible_share > 0.3
    assert not stands_out(shares, division.count)


@pytest.mark.parametrize(
    ("shares", "count", "expected"),
    [
        ({1: 1.0, 2: 0.4}, 2, True),
        ({1: 1.0, 2: 0.6}, 2, False),
        ({1: 1.0, 2: 0.05, 3: 0.004}, 3, True),
        ({1: 1.0, 2: 0.004, 3: 0.001}, 3, False),
        ({1: 1.0, 3: 0.9}, 3, True),  # two were not tried
    ],
)
def test_a_number_stands_out_where_one_fewer_explains_much_less(shares, count, expected):
    assert stands_out(shares, count) == expected


def test_rigid_motions_of_the_blocks_are_no_flexible_share():
    """Modes made of turns and shifts of two blocks; then with noise of a tenth of their mean square."""
    points, domain = atoms(TWO)
    draw = np.random.default_rng(3)
    modes = np.empty((len(points), 3, 4))
    for block in (0, 1):
        turn, shift = draw.standard_normal((4, 3)), draw.standard_normal((4, 3)) * 20
        moved = np.cross(turn[None], points[domain == block][:, None]) + shift
        modes[domain == block] = moved.transpose(0, 2, 1)
    exact = as_division(Network(points, np.zeros((0, 2), dtype=np.int64), modes), domain)
    assert exact == Division(domain, pytest.approx(0, abs=1e-12)) or exact.flexible_share < 1e-12
    noise = draw.standard_normal(modes.shape) * np.sqrt((modes**2).mean() / 10)
    noisy = as_division(Network(points, np.zeros((0, 2), dtype=np.int64), modes + noise), domain)
    assert noisy.flexible_share == pytest.approx(1 / 11, rel=0.1)
