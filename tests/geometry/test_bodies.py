"""Poses of bodies, and RELION's way of writing them against numbers of its own."""

import pytest
import torch
from scipy.spatial.transform import Rotation

from blush.errors import BlushError
from blush.geometry.bodies import (
    BodyExtent,
    body_axis,
    body_frame,
    body_motion,
    body_pose,
    hinge_shift,
    origin_from_relion,
    relion_offset,
    residual_euler,
    residual_rotation,
    seen_shift,
)
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler

CENTRES_PX = torch.tensor([[-6.0, -1, 1], [7, 3, -1]], dtype=torch.float64)
"""Of two bodies, each of which turns against the other; what RELION 3.1.3 printed for them is below."""
AXIS_1 = torch.tensor([0.945611, 0.290957, -0.145479], dtype=torch.float64)
FRAMES = torch.tensor(
    [
        [[0.325300, -0.845780, 0.422890], [0, 0.447214, 0.894427], [-0.945611, -0.290957, 0.145479]],
        [[0.325300, -0.845780, 0.422890], [0, -0.447214, -0.894427], [0.945611, 0.290957, -0.145479]],
    ],
    dtype=torch.float64,
)
PIXEL_ANGST = 1.37


def frames():
    axes = [body_axis(CENTRES_PX[b], CENTRES_PX[1 - b], "body") for b in (0, 1)]
    return body_frame(torch.stack(axes))


def random_rotations(n, seed):
    return torch.from_numpy(Rotation.random(n, random_state=seed).as_matrix())


def some_motions(n=40):
    """Views, origins, rotations of a body, displacements of its centre."""
    draw = torch.Generator().manual_seed(5)
    origin, displacement = (torch.randn(n, k, generator=draw, dtype=torch.float64) * 6 for k in (2, 3))
    return random_rotations(n, 1), origin, random_rotations(n, 2), displacement


def test_axes_and_frames_are_those_that_relion_prints():
    assert torch.allclose(body_axis(CENTRES_PX[0], CENTRES_PX[1], "a"), AXIS_1, atol=1e-6)
    assert torch.allclose(body_axis(CENTRES_PX[1], CENTRES_PX[0], "b"), -AXIS_1, atol=1e-6)
    assert torch.allclose(frames(), FRAMES, atol=1e-6)


def test_without_a_partner_the_axis_points_to_the_centre_of_the_box():
    axis = body_axis(torch.tensor([0.0, 3, -4], dtype=torch.float64), None, "a")
    assert torch.allclose(axis, torch.tensor([0, -0.6, 0.8], dtype=torch.float64))


def test_an_undefined_axis_is_refused():
    zero = torch.zeros(3, dtype=torch.float64)
    with pytest.raises(BlushError, match=r"head: its centre is that of the box.*hinge_with"):
        body_axis(zero, None, "head")
    with pytest.raises(BlushError, match=r"head: its centre is that of the body that it hinges with"):
        body_axis(CENTRES_PX[0], CENTRES_PX[0], "head")


@pytest.mark.parametrize("x", [1.0, -1.0])
def test_the_frame_of_an_axis_along_x_is_a_rotation(x):
    frame = body_frame(torch.tensor([-x, 0, 0], dtype=torch.float64))
    expected = torch.tensor([[0, 0, -x], [0, 1, 0], [x, 0, 0]], dtype=torch.float64)
    assert torch.equal(frame, expected)
    assert torch.linalg.det(frame) == 1


def test_residual_angles_give_the_rotation_that_relion_gives():
    euler = torch.tensor([10.0, 85, -7], dtype=torch.float64)
    expected = torch.tensor(
        [
            [0.982048, 0.025862, -0.186851],
            [-0.002757, 0.992419, 0.122870],
            [0.188612, -0.120149, 0.974674],
        ],
        dtype=torch.float64,
    )
    found = residual_rotation(euler, frames()[1])
    assert torch.allclose(found, expected, atol=1e-6)
    assert float(angular_distance_deg(found, torch.eye(3, dtype=torch.float64))) == pytest.approx(12.94884, abs=1e-5)


def test_residual_angles_0_90_0_are_no_rotation():
    euler = torch.tensor([0.0, 90, 0], dtype=torch.float64)
    none = residual_rotation(euler, frames())
    assert (none - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-15
    assert torch.allclose(residual_euler(torch.eye(3, dtype=torch.float64), frames()), euler, atol=1e-13)


def test_rotations_survive_a_way_through_residual_angles():
    rotations = random_rotations(100, 3)
    again = residual_rotation(residual_euler(rotations, frames()[0]), frames()[0])
    assert (again - rotations).abs().max() < 1e-13


def test_a_point_is_seen_where_the_plain_pose_of_its_body_puts_it():
    """The consensus point x goes to R (x - c) + c + t; in the re-centred body it is x - c."""
    view, origin, rotation, displacement = some_motions()
    centre, x = CENTRES_PX[0] * PIXEL_ANGST, torch.tensor([4.0, -9, 21], dtype=torch.float64)
    body_view, body_origin = body_pose(view, origin, rotation, seen_shift(view, displacement), centre)
    moved = torch.einsum("nij,j->ni", rotation, x - centre) + centre + displacement
    seen = torch.einsum("nij,nj->ni", view, moved)[:, :2] - origin
    seen_in_body = torch.einsum("nij,j->ni", body_view, x - centre)[:, :2] - body_origin
    assert torch.allclose(seen_in_body, seen, atol=1e-12)


def test_motions_are_found_again_from_plain_poses():
    view, origin, rotation, displacement = some_motions()
    shift = seen_shift(view, displacement)
    pose = body_pose(view, origin, rotation, shift, CENTRES_PX[1])
    found_rotation, found_shift = body_motion(view, origin, *pose, CENTRES_PX[1])
    assert torch.allclose(found_rotation, rotation, atol=1e-13)
    assert torch.allclose(found_shift, shift, atol=1e-12)


def test_a_body_that_turns_about_a_hinge_leaves_the_hinge_in_place():
    rotation = random_rotations(20, 4)
    centre, hinge = CENTRES_PX[1], torch.tensor([1.0, 0.4, 0], dtype=torch.float64)
    displacement = hinge_shift(rotation, centre, hinge)
    moved = torch.einsum("nij,j->ni", rotation, hinge - centre) + centre + displacement
    assert torch.allclose(moved, hinge.expand(20, 3), atol=1e-13)


def test_offsets_of_relion_hold_the_residue_of_rounding():
    """b = -(A t)_xy - rho, rho = n - u, with u = o - (A c)_xy and n its whole pixels."""
    view, origin, rotation, displacement = some_motions()
    centre = CENTRES_PX[1] * PIXEL_ANGST
    shift = seen_shift(view, displacement)
    _, body_origin = body_pose(view, origin, rotation, shift, centre)
    u_px = (origin - torch.einsum("nij,j->ni", view, centre)[:, :2]) / PIXEL_ANGST
    residue = (u_px.round() - u_px) * PIXEL_ANGST
    offset = relion_offset(view, origin, body_origin, centre, PIXEL_ANGST)
    assert torch.allclose(offset, -shift - residue, atol=1e-12)
    again = origin_from_relion(view, origin, offset, centre, PIXEL_ANGST)
    assert torch.allclose(again, body_origin, atol=1e-12)


@pytest.mark.parametrize(("u_px", "whole_px"), [(2.5, 3), (-2.5, -3), (0.5, 1), (2.4, 2), (-0.6, -1)])
def test_a_tie_is_rounded_away_from_zero_as_in_relion(u_px, whole_px):
    view = matrix_from_euler(torch.zeros(1, 3, dtype=torch.float64))
    origin = torch.tensor([[u_px, 0.0]], dtype=torch.float64)
    zero = torch.zeros(3, dtype=torch.float64)
    assert relion_offset(view, origin, origin, zero, 1.0)[0, 0] == pytest.approx(u_px - whole_px)


def test_the_extent_of_a_mask_is_its_centroid_and_its_reach():
    mask = torch.zeros(8, 8, 8)
    mask[2, 5, 4:7] = torch.tensor([1.0, 1.0, 0.5])  # z -2, y 1, x 0 to 2
    mask[2, 7, 4] = 0.05  # too little to count for the radius
    extent = BodyExtent.of(mask)
    weight = 2.55
    expected = torch.tensor([2.0, 2.5 + 0.15, -2 * weight], dtype=torch.float64) / weight
    assert torch.allclose(extent.centroid_px, expected, atol=1e-7)
    assert extent.centre_px.tolist() == [1, 1, -2]
    assert extent.radius_px == pytest.approx(((2 - 2 / 2.55) ** 2 + (1 - 2.65 / 2.55) ** 2) ** 0.5, abs=1e-6)


def test_an_empty_mask_has_no_extent():
    with pytest.raises(ValueError, match=r"above 0\.05"):
        BodyExtent.of(torch.full((4, 4, 4), 0.05))
