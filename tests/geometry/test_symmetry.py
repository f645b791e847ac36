"""Point groups and their asymmetric units."""

import math

import pytest
import torch

from blush.geometry.healpix import angular_step_deg, pixel_count, pixel_directions
from blush.geometry.rotation import direction
from blush.geometry.symmetry import asymmetric_unit_directions, operators

GROUP_SIZES = {"C1": 1, "C2": 2, "C7": 7, "D2": 4, "D7": 14, "T": 12, "O": 24, "I": 60, "I1": 60, "I3": 60, "I4": 60}


def random_directions(n: int) -> torch.Tensor:
    points = torch.randn(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return torch.nn.functional.normalize(points, dim=-1)


@pytest.mark.parametrize(("name", "size"), GROUP_SIZES.items())
def test_operators_form_a_group_of_rotations(name, size):
    group = operators(name)
    assert group.shape == (size, 3, 3)
    assert torch.equal(group[0], torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(group @ group.mT, torch.eye(3).double().expand(size, 3, 3), atol=1e-13, rtol=0)
    assert (torch.linalg.det(group) > 0).all()
    product = (group[:, None] @ group).reshape(-1, 1, 3, 3)
    assert (product - group).abs().amax((-1, -2)).amin(1).max() < 1e-12


@pytest.mark.parametrize(
    ("name", "fold", "axis"),
    [
        ("C5", 5, (0, 0, 1)),
        ("D3", 3, (0, 0, 1)),
        ("D3", 2, (1, 0, 0)),
        ("T", 3, (0, 0, 1)),
        ("T", 2, (0, math.sqrt(2 / 3), math.sqrt(1 / 3))),
        ("O", 4, (0, 0, 1)),
        ("O", 4, (1, 0, 0)),
        ("I", 2, (0, 1, 0)),
        ("I2", 5, (0.525731112119, 0, 0.850650808352)),
        ("I1", 5, (0.850650808352, 0, 0.525731112119)),
        ("I3", 5, (0, 0, 1)),
        ("I4", 5, (0, 0, 1)),
    ],
)
def test_axes_lie_where_relion_puts_them(name, fold, axis):
    """As many operators leave the axis in place as the fold says."""
    vector = torch.tensor(axis, dtype=torch.float64)
    fixed = ((operators(name) @ vector - vector).abs().amax(1) < 1e-9).sum()
    assert fixed == fold


@pytest.mark.parametrize(("name", "size"), [("C999", 999), ("D999", 1998)])
def test_large_groups_are_made_of_the_newest_operators_alone(name, size):
    """Of 2,000 operators, all products of all with all took hours and gigabytes."""
    group = operators(name)
    assert group.shape == (size, 3, 3)
    torch.testing.assert_close(group @ group.mT, torch.eye(3).double().expand(size, 3, 3), atol=1e-12, rtol=0)
    angle = 2 * math.pi / 999
    assert (group[:, 0, 0] - math.cos(angle)).abs().min() < 1e-12


@pytest.mark.parametrize("name", ["", "C", "C0", "D1x", "I5", "Q", "C1٣"])
def test_an_unknown_group_is_refused(name):
    with pytest.raises(ValueError, match="not a point group"):
        operators(name)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("name", ["C1", "C3", "D2", "D7", "T", "O", "I", "I3"])
def test_every_direction_is_near_a_mate_of_a_kept_one(name, order):
    kept = direction(*pixel_directions(order, asymmetric_unit_directions(order, name)))
    mates = kept @ operators(name)
    cosine = torch.einsum("nx,opx->nop", random_directions(2000), mates).flatten(1).amax(1)
    # To a node within one step of the nearest node, itself within 0.8 step on the full grid.
    assert cosine.min() > math.cos(math.radians(min(1.8 * angular_step_deg(order), 180)))


@pytest.mark.parametrize("name", ["C3", "D2", "D7", "T", "O", "I", "I1"])
def test_the_asymmetric_unit_holds_its_share_of_the_sphere(name):
    """Not a direction twice: the share may exceed 1/order by the seam alone."""
    order = 5
    kept = asymmetric_unit_directions(order, name)
    share = pixel_count(order) / len(operators(name))
    assert abs(len(kept) - share) < 2 * math.sqrt(share)


@pytest.mark.parametrize("name", ["C2", "C4", "D2", "D4"])
def test_mates_that_are_both_on_the_grid_are_kept_once(name):
    """These groups map the grid to itself, so exactly one of each set of mates is kept."""
    order = 2
    assert len(asymmetric_unit_directions(order, name)) == pixel_count(order) // len(operators(name))


def test_c1_keeps_the_sphere():
    assert torch.equal(asymmetric_unit_directions(2, "C1"), torch.arange(192))
