"""Masks of bodies are checked one by one, against each other, and against the consensus map."""

from pathlib import Path

import pytest
import torch

from blush.bodies.check_masks import Consensus, check_masks
from blush.config.multibody import Body
from blush.io.mrc import write_volume
from blush.io.optics import OpticsGroup

BOX, PIXEL = 64, 4.0
OPTICS = OpticsGroup("g", 300, 2.7, 0.1, pixel_size_angst=PIXEL, box_px=BOX)


def distance(x: float, y: float = 0, z: float = 0) -> torch.Tensor:
    """(N, N, N) Å from a point."""
    axis = (torch.arange(BOX) - BOX // 2) * PIXEL
    squares = (axis[:, None, None] - z) ** 2 + (axis[:, None] - y) ** 2 + (axis - x) ** 2
    return squares.double().sqrt()


def ball(x: float, radius: float, edge: float = 20.0) -> torch.Tensor:
    """Soft sphere, 1 up to its radius."""
    fraction = ((distance(x) - radius) / edge).clamp(0, 1)
    return 0.5 + 0.5 * torch.cos(torch.pi * fraction)


DENSITY = (distance(-34) < 38).float() + (distance(34) < 38).float()
"""Two spheres of 230,000 Å³, which reach into each other by little."""
LEFT, RIGHT = ball(-34, 42), ball(34, 42)


def check(folder: Path, masks, hinge=True, learned=False, pixel=PIXEL, diameter=200.0, rest=False, fulcrum=None):
    bodies = []
    for number, mask in enumerate(masks):
        write_volume(folder / f"{number}.mrc", mask.numpy(), pixel)
        partner = "a" if number == 1 and hinge else None
        bodies.append(Body(name="ab"[number], mask=folder / f"{number}.mrc", hinge_with=partner, fulcrum_angst=fulcrum))
    found = check_masks(bodies, Consensus(OPTICS, diameter, DENSITY, learned), rest=rest)
    return [str(one) for one in found.problems], [str(one) for one in found.warnings]


def test_good_masks_are_not_complained_of(tmp_path):
    assert check(tmp_path, (LEFT, RIGHT)) == ([], [])


def test_a_mask_that_leaves_the_box_is_refused(tmp_path):
    [problem], _ = check(tmp_path, (LEFT, ball(90, 40)), diameter=250)
    assert problem.startswith(f"{tmp_path}/1.mrc: mask of body b reaches the edge of the box, which cuts it (found ")


@pytest.mark.parametrize(
    ("mask", "pixel", "expected"),
    [
        (RIGHT[:32, :32, :32], PIXEL, "mask of body b has another box than the particles (found 32 px)"),
        (RIGHT, 3.0, "mask of body b has another pixel size than the particles (found 3 Å)"),
        (2 * RIGHT, PIXEL, "mask of body b is not in [0, 1] (found 0 to 2)"),
        (0 * RIGHT, PIXEL, "mask of body b is constant (found 0)"),
        (0.2 * RIGHT, PIXEL, "mask of body b lets nothing through (found at most 0.2)"),
    ],
)
def test_masks_that_cannot_be_used(tmp_path, mask, pixel, expected):
    problems, _ = check(tmp_path, (LEFT, mask), pixel=pixel)
    assert any(expected in problem for problem in problems)


def test_a_hard_edge_is_told(tmp_path):
    problems, warnings = check(tmp_path, (LEFT, (distance(34) < 52).float()))
    assert problems == []
    assert len(warnings) == 1
    assert (
        "mask of body b has a hard edge, which rings and is shared by both half-maps (found 0.0 px wide)" in warnings[0]
    )


def test_the_width_of_an_edge_is_measured(tmp_path):
    """A cosine of 8 Å is 0.71 of that between 0.05 and 0.95: 1.4 pixels, measured on a grid of 4 Å."""
    _, warnings = check(tmp_path, (LEFT, ball(34, 46, edge=8.0)))
    [width] = [float(one.split("(found ")[1].split(" px")[0]) for one in warnings if "hard edge" in one]
    assert width == pytest.approx(1.4, abs=0.3)


def test_bodies_that_hinge_without_touching_are_told(tmp_path):
    small = ball(36, 20, edge=12.0)
    _, warnings = check(tmp_path, (ball(-30, 24, edge=12.0), small), learned=True)
    told = [one for one in warnings if "do not overlap, though they hinge" in one]
    assert len(told) == 1
    # 66 Å between centres, less 24, 20, and most of both edges
    gap = float(told[0].split("(found ")[1].split(" Å")[0])
    assert 1 < gap < 12
    _, warnings = check(tmp_path, (ball(-30, 24, edge=12.0), small), hinge=False, learned=True)
    assert not any("hinge" in one for one in warnings)


def test_density_in_no_mask_is_told_with_its_share_and_place(tmp_path):
    _, warnings = check(tmp_path, (LEFT, ball(-5, 25)), learned=True)
    told = [one for one in warnings if one.startswith("multibody.bodies: part of the consensus map is in no mask")]
    assert len(told) == 1
    share = float(told[0].split("(found ")[1].split("%")[0])
    x = float(told[0].split("about ")[1].split(",")[0])
    assert 25 < share < 50
    assert 30 < x < 50


def test_a_body_outside_the_circle_of_the_particle(tmp_path):
    problems, _ = check(tmp_path, (LEFT, ball(70, 36)), diameter=140)
    assert any("mask of body b lies outside the particle's circle (found" in one for one in problems)
    problems, warnings = check(tmp_path, (LEFT, RIGHT), diameter=125)
    assert problems == []
    assert any("mask of body b lies outside the particle's circle (found" in one for one in warnings)


def test_one_mask_twice_is_refused(tmp_path):
    problems, _ = check(tmp_path, (LEFT, LEFT.clone()))
    assert [one for one in problems if "masks of bodies a and b are the same (found 100% shared)" in one]


def test_a_mask_of_no_density_is_refused(tmp_path):
    far = 0.5 + 0.5 * torch.cos(torch.pi * ((distance(0, 70) - 10) / 12).clamp(0, 1))
    problems, _ = check(tmp_path, (LEFT, far))
    assert any("mask of body b holds no density of the consensus map" in one for one in problems)


def test_small_bodies_need_a_learned_prior(tmp_path):
    _, warnings = check(tmp_path, (LEFT, ball(38, 18)))
    assert any("body b is small, and may not be aligned by itself (found about" in one for one in warnings)
    _, warnings = check(tmp_path, (LEFT, ball(38, 18)), learned=True)
    assert not any("is small" in one for one in warnings)


def test_of_what_no_mask_covers_rest_takes_care(tmp_path):
    assert check(tmp_path, (LEFT,), rest=True) == ([], [])
    _, warnings = check(tmp_path, (LEFT,), rest=False)
    assert any("part of the consensus map is in no mask" in one for one in warnings)


def test_a_rest_that_holds_nothing_is_refused(tmp_path):
    [problem], warnings = check(tmp_path, (LEFT, RIGHT), rest=True)
    assert problem.startswith(
        "multibody.rest: body rest holds nothing: the masks cover all density of the consensus map (found 0."
    )
    assert "set rest: false and list two bodies or more, draw the masks smaller, or use job: refine" in problem
    assert warnings == []


def test_a_rest_that_its_own_box_would_cut_is_refused(tmp_path):
    """A small ball to the left and a large one to the right, whose common centre lies in the large one."""
    volume = sum((distance(x) < radius).float() for x, radius in ((-92, 22), (0, 24), (84, 36)))
    write_volume(tmp_path / "0.mrc", ball(0, 36).numpy(), PIXEL)
    body = Body(name="a", mask=tmp_path / "0.mrc")
    [problem] = check_masks([body], Consensus(OPTICS, 250, volume, learned_prior=True), rest=True).problems
    assert str(problem).startswith("multibody.rest: body rest reaches beyond a box that is centred on it (found ")


@pytest.mark.parametrize(
    ("fulcrum", "expected"),
    [
        ((0.0, 0.0, 0.0), None),
        ((20.0, -10.0, 8.0), None),
        ((0.0, 0.0, 130.0), "fulcrum of body a lies outside of the box (found 0, 0, 130 Å)"),
        ((-129.9, 0.0, 0.0), "body a is turned about its fulcrum in a box that does not hold it"),
        ((90.0, 0.0, 0.0), "body a is turned about its fulcrum in a box that does not hold it (found 90, 0, 0 Å; it"),
        ((-130.1, 0.0, 0.0), "fulcrum of body a lies outside of the box"),
    ],
)
def test_a_fulcrum_lies_in_the_box_and_its_body_about_it_too(tmp_path, fulcrum, expected):
    """Of 256 Å: voxels from -128 to 124 Å. The body ends 91 Å to the left, so that about x = 33 it reaches 124 Å."""
    problems, _ = check(tmp_path, (LEFT,), rest=True, fulcrum=fulcrum)
    assert len(problems) == (expected is not None)
    assert expected is None or problems[0].startswith(f"multibody.bodies: {expected}")
