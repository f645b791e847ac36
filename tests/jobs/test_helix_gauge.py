"""Halves of a helix that lie upside down to each other, from slices of a map in closed form."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from blush.fourier.backproject import empty_accumulator, hermitian, insert
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import transform
from blush.geometry.helix import Helix
from blush.geometry.rotation import matrix_from_euler
from blush.helix.masks import Tube, central_mask
from blush.jobs.helix_gauge import as_the_first, is_opposite
from blush.jobs.helix_turned import turned_poses
from blush.maximization.reconstruct import reconstruct

sys.path.insert(0, str(Path(__file__).parents[1] / "helix"))
from helices import helix_map

BOX, PIXEL, HELIX = 48, 4.0, Helix(21, 37)
MASK = central_mask(BOX, PIXEL, Tube(140, 0, 180), 0.4)


def sums_of(volume: torch.Tensor, seed: int, n: int = 400):
    """Hermitian sums of noise-free slices through a map, about the equator."""
    rng = np.random.default_rng(seed)
    euler = np.stack([rng.uniform(0, 360, n), rng.normal(90, 4, n), rng.uniform(0, 360, n)], 1)
    pixels = packed(BOX, "cpu")
    count, matrices = pixels.inside(BOX // 2 - 1), matrix_from_euler(torch.from_numpy(euler))
    slices = project(transform(volume.double(), BOX // 2 - 1), matrices, pixels, count)
    sums = empty_accumulator(BOX, BOX // 2 - 1, dtype=torch.float64)
    insert(sums, matrices, slices, torch.ones(n, count, dtype=torch.float64), pixels)
    return hermitian(sums)


def turned(angle_deg: float, shift_px: int) -> torch.Tensor:
    """The map upside down, turned and moved along its axis, exactly: it is made from its units."""
    upside_down = tuple((r, -q + angle_deg, -z + shift_px * PIXEL, s, w) for r, q, z, s, w in UNIT)
    return helix_map(BOX, PIXEL, HELIX, upside_down)


UNIT = ((35, 0, 0, 6, 1.0), (18, 100, 5, 6, 1.2), (48, 220, -4, 7, 0.8))


@pytest.fixture(scope="module")
def volume():
    return helix_map(BOX, PIXEL, HELIX, UNIT)


def alike(first, second):
    one, two = (reconstruct(half, None) * MASK for half in (first, second))
    return float((one * two).sum() / (one.norm() * two.norm()))


@pytest.mark.parametrize(("angle_deg", "shift_px"), [(0, 0), (50, 2), (-120, -1)])
def test_a_half_that_is_upside_down_is_laid_as_the_first(volume, angle_deg, shift_px):
    first, second = sums_of(volume, 1), sums_of(turned(angle_deg, shift_px), 2)
    assert alike(first, second) < 0.9
    found = as_the_first(first, second, MASK, PIXEL, HELIX.rise_angst)
    assert found is not None
    assert alike(first, found.sums) > 0.97


@pytest.mark.parametrize(("angle_deg", "shift_angst"), [(0.0, 0.0), (40.0, 6.0), (-75.0, -9.5)])
def test_poses_against_the_turned_map_show_the_same(angle_deg, shift_angst):
    """Points of the map, and where a view shows them: x of A p less the offset, before and after."""
    rng = np.random.default_rng(3)
    points, n = rng.normal(size=(7, 3)) * 20, 5
    poses = np.concatenate((rng.uniform(-180, 180, (n, 1)), rng.uniform(70, 110, (n, 1)),
                            rng.uniform(-180, 180, (n, 1)), rng.normal(size=(n, 2))), 1)  # fmt: skip
    angle = np.deg2rad(angle_deg)
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    # V'(y) = V(X Z (y - c)): what is at p of V is at (X Z)^T p + c of V'
    moved = points @ (np.diag([1.0, -1, -1]) @ about_z) + np.array([0, 0, shift_angst])

    def shown(poses, points):
        matrices = matrix_from_euler(torch.from_numpy(poses[:, :3])).numpy()
        return np.einsum("nij,pj->npi", matrices, points)[..., :2] - poses[:, None, 3:]

    np.testing.assert_allclose(
        shown(turned_poses(poses, angle_deg, shift_angst), moved), shown(poses, points), atol=1e-9
    )


def test_halves_that_lie_alike_are_left_alone(volume):
    assert as_the_first(sums_of(volume, 1), sums_of(volume, 2), MASK, PIXEL, HELIX.rise_angst) is None


def test_a_map_with_a_dyad_is_no_opposite_of_itself():
    """Both ways up are alike, whatever noise says."""
    dyad = (*UNIT, *((r, -q, -z, s, w) for r, q, z, s, w in UNIT))
    volume = helix_map(BOX, PIXEL, HELIX, dyad)
    noise = [torch.randn(volume.shape, generator=torch.Generator().manual_seed(s)) * 0.3 * volume.std() for s in (1, 2)]
    assert not is_opposite(volume + noise[0], volume + noise[1], MASK, PIXEL, HELIX.rise_angst)
