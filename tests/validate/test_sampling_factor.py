"""Sampling of Fourier space by views: closed forms, figures of known distributions, symmetry."""

import math

import pytest
import torch

from blush.geometry.rotation import random_directions
from blush.geometry.symmetry import operators
from blush.validate.sampling_factor import counted, expanded, half_sphere, sampling, uniform_sampling, view_counts

VIEWS = 10_000


def around(tilt_deg, count, seed=1):
    """Uniform views within some angle of z."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(2, count, generator=generator, dtype=torch.float64)
    z, angle = 1 - draws[0] * (1 - math.cos(math.radians(tilt_deg))), 2 * math.pi * draws[1]
    radius = (1 - z**2).sqrt()
    return torch.stack([radius * angle.cos(), radius * angle.sin(), z], 1)


def uniform(count, seed=1):
    return random_directions(count, torch.Generator().manual_seed(seed))


def side(count):
    angle = (torch.arange(count) + 0.5) / count * 2 * math.pi
    return torch.stack([angle.cos(), angle.sin(), 0 * angle], 1).double()


def test_points_cover_half_the_sphere_evenly():
    points = half_sphere(500)
    torch.testing.assert_close(points.norm(dim=1), torch.ones(500, dtype=torch.float64))
    assert (points[:, 2] > 0).all()
    torch.testing.assert_close(points.T @ points / 500, torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=1e-3)


def test_evenly_spread_views_lose_nothing():
    """As many samples everywhere: the mean of the reciprocals is the reciprocal of the mean."""
    found = sampling(torch.cat([half_sphere(VIEWS), uniform(0)]))
    assert found.scf == pytest.approx(1, abs=2e-3)
    assert found.empty == 0
    assert found.scf_star == found.scf


def test_side_views_leave_eight_over_pi_squared():
    """Samples go as 1 / sin(tilt), whose mean over the sphere is pi / 2; that of sin(tilt) is pi / 4."""
    assert sampling(side(VIEWS)).scf_star == pytest.approx(8 / math.pi**2, abs=6e-3)


@pytest.mark.parametrize(
    ("views", "expected", "within"),
    [
        (uniform(VIEWS), 0.990, 2e-3),
        (torch.cat([uniform(VIEWS // 2), around(10, VIEWS // 2)]), 0.577, 6e-3),
        (around(60, VIEWS), 0.116, 2e-3),
        (around(30, VIEWS), 0.020, 1e-3),
        (around(10, VIEWS), 0.004, 1e-3),
    ],
    ids=["uniform", "half_top", "within_60", "within_30", "within_10"],
)
def test_known_distributions_have_their_figures(views, expected, within):
    """Figures of a separate program of the same definition."""
    assert sampling(views).scf_star == pytest.approx(expected, abs=within)


def test_empty_places_cost_by_their_share():
    """One view fills the places within its plane, with one sample each, and leaves the rest, z of them, empty.

    SCF is 1 / m with m = 1 - z, and SCF* is SCF / (1 + z / (2 (1 - z)) m SCF).
    """
    found = sampling(torch.tensor([[0.0, 0.0, 1.0]], dtype=torch.float64))
    filled = 1 - found.empty
    assert filled == pytest.approx(0.01, rel=0.01)  # |z| below 0.5 / 50
    assert found.scf == pytest.approx(1 / filled)
    assert found.scf_star == pytest.approx(found.scf / (1 + 0.5 * found.empty / filled))


def test_no_views_sample_nothing():
    assert sampling(torch.empty(0, 3, dtype=torch.float64)).scf_star == 0


def test_symmetry_fills_what_views_do_not():
    """Views near one of the 2-fold axes of an icosahedron lie near all fifteen."""
    few = around(15, 150)
    assert sampling(few).scf_star < 0.45
    mates = counted(few, operators("I1"), seed=1)
    assert len(mates) == 150 * 60
    assert sampling(mates).empty == 0
    assert sampling(mates).scf_star > 0.6


def test_mates_are_counted_in_the_frame_of_the_map():
    """An orientation A has the mates A S, and its view is the third row."""
    group = operators("D3")
    view = torch.nn.functional.normalize(torch.tensor([[0.3, -0.5, 0.8]], dtype=torch.float64), dim=1)
    mates = expanded(view, group)
    turned = view @ group[2]
    assert (mates - turned).norm(dim=1).min() < 1e-12
    torch.testing.assert_close(mates.sum(0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_of_many_views_a_part_is_counted_and_the_same_one_again():
    views, group = uniform(30_000), operators("C2")
    assert len(counted(views, group, 1)) == 10_000
    assert torch.equal(counted(views, group, 1), counted(views, group, 1))
    assert not torch.equal(counted(views, group, 1), counted(views, group, 2))


def test_few_uniform_views_are_less_than_perfect():
    """With a mean of one sample in a place, Poisson's law leaves exp(-1) of the places empty."""
    few = uniform_sampling(100, operators("C1"), 1)
    assert 0.5 < few < uniform_sampling(10_000, operators("C1"), 1)
    assert sampling(uniform(100)).empty == pytest.approx(math.exp(-1), abs=0.08)


def test_views_are_counted_where_they_are_with_their_mates():
    """Tilt 60° is row 7 of 30 (cosine 1/2), rot 93° column 45 of 60; a 2-fold on z turns it to -87°."""
    tilt, rot = math.radians(60.1), math.radians(93)
    view = torch.tensor([[math.sin(tilt) * math.cos(rot), math.sin(tilt) * math.sin(rot), math.cos(tilt)]]).double()
    counts = view_counts(view, operators("C2"))
    assert counts.sum() == 2
    assert torch.nonzero(counts).tolist() == [[7, 15], [7, 45]]
    assert view_counts(uniform(60_000), operators("C1")).float().std() == pytest.approx(
        math.sqrt(60_000 / 1800), rel=0.1
    )
