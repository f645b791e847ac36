"""Bodies are put back where they are: turned about their own centres, without a change where they stay."""

import numpy as np
import pytest
import torch
from drawn import turns
from drawn_run import BOX, LUMPS, PIXEL, ball, lumps, sum_of_gaussians
from scipy.spatial.transform import Rotation

from blush.bodies.placing import Pose, blended, placed
from blush.fourier.fsc import fsc

SIGMA = 6.0


def points(seed=1, n=25):
    """Points of a body about its centre, in Å."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 3)) * [9.0, 6.0, 4.0]


def tensor(array):
    return torch.from_numpy(array.astype(np.float32))


def test_a_turned_body_is_that_of_turned_points():
    """Point y of a body is at R y + c + t: the density of turned points, to the error of cubic splines."""
    y, turn = points(), Rotation.from_rotvec([0.3, -0.2, 0.5])
    place = np.array([20.0, -14.5, 9.0])
    found = placed(tensor(sum_of_gaussians(y, SIGMA)), Pose(turn.as_rotvec(), place), PIXEL)
    expected = tensor(sum_of_gaussians(turn.apply(y) + place, SIGMA))
    assert (found - expected).norm() < 0.02 * expected.norm()
    about_the_box = placed(tensor(sum_of_gaussians(y, SIGMA)), Pose(turn.as_rotvec(), turn.apply(place)), PIXEL)
    assert (about_the_box - expected).norm() > 0.5 * expected.norm()


@pytest.mark.parametrize("place_px", [(7, -2, 3), (-20, 0, 0), (0, 30, 0)])
def test_a_body_that_stays_keeps_its_values(place_px):
    volume = tensor(np.random.default_rng(1).normal(size=(BOX,) * 3))
    found = placed(volume, Pose(np.zeros(3), np.array(place_px) * PIXEL), PIXEL)
    x, y, z = place_px
    expected = torch.roll(volume, (z, y, x), (0, 1, 2))
    inside = torch.ones_like(volume, dtype=torch.bool)
    for axis, by in enumerate((z, y, x)):
        beyond = torch.arange(BOX)
        out = (beyond < by) | (beyond >= BOX + by)
        inside &= ~out.view([-1 if i == axis else 1 for i in range(3)])
    torch.testing.assert_close(found, torch.where(inside, expected, 0.0), rtol=0, atol=0)


def test_where_masks_meet_maps_are_averaged_and_outside_there_is_nothing():
    one, other = torch.full((4, 4, 4), 2.0), torch.full((4, 4, 4), 4.0)
    first, second = torch.zeros(2, 4, 4, 4)
    first[:2], second[1:3] = 1, 1
    first[3] = 0.25
    found = blended([one, other], [first, second])
    assert found[:, 0, 0].tolist() == [2.0, 3.0, 4.0, 0.5]


@pytest.mark.parametrize("angle_deg", [-12.0, 12.0])
def test_a_blended_molecule_is_the_conformer(angle_deg):
    """Both bodies of a molecule, one turned about a hinge: FSC 0.5 of it lies twice as far as for one that is turned
    about the centre of the box, as in the movies of RELION 3.1.3: that displaces it by (R - 1) c.
    """
    hinge, turn = np.array([5.0, 2.0, 0.0]), turns(np.array([angle_deg]), (0.2, 0.4, 1.0))[0]
    centre = LUMPS.centres[1]
    shift = turn @ (centre - hinge) - (centre - hinge)
    vector = Rotation.from_matrix(turn).as_rotvec()
    bodies, masks = [tensor(lumps(b, 1 + b)) for b in (0, 1)], [tensor(ball(LUMPS.radii[b])) for b in (0, 1)]
    poses = [Pose(np.zeros(3), LUMPS.centres[0]), Pose(vector, centre + shift)]
    wrong = [poses[0], Pose(vector, turn @ centre + shift)]
    rng = np.random.default_rng(2)
    y = rng.normal(size=(60, 3))
    y *= (LUMPS.radii[1] - 5.0) * rng.random(60)[:, None] ** (1 / 3) / np.linalg.norm(y, axis=1)[:, None]
    conformer = placed(bodies[0], poses[0], PIXEL) + tensor(sum_of_gaussians(y @ turn.T + centre + shift, 5.0))

    around = placed(masks[1], poses[1], PIXEL)

    def last_good(where):
        made = blended([placed(*one, PIXEL) for one in zip(bodies, where, strict=True)],
                       [placed(*one, PIXEL) for one in zip(masks, where, strict=True)])  # fmt: skip
        curve = fsc(made * around, conformer * around)
        return int((curve[1:] < 0.5).nonzero()[0]) if (curve[1:] < 0.5).any() else BOX // 2

    assert last_good(poses) >= 2 * last_good(wrong)
