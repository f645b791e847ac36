"""Covariance of motions from posteriors of what images show: known ones are found, whatever was expected at first."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from blush.maximization.motion import first_motion, update_motion

N = 1000


def observations(true, noise, seed):
    """Views, likelihood precisions and precision-weighted means of what N images show of motions drawn from `true`."""
    rng = np.random.default_rng(seed)
    views = Rotation.random(N, random_state=seed).as_matrix()
    shown = np.zeros((N, 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = np.eye(3), views[:, :2]
    motions = rng.multivariate_normal(np.zeros(6), true, N)
    roots = rng.normal(size=(N, 5, 5)) * np.sqrt(np.diag(noise))[:, None]
    errors = roots @ roots.transpose(0, 2, 1) / 5 + 0.1 * noise
    seen = np.einsum("nij,nj->ni", shown, motions)
    seen += np.einsum("nij,nj->ni", np.linalg.cholesky(errors), rng.normal(size=(N, 5)))
    precision = np.linalg.inv(errors)
    return views, shown, precision, np.einsum("nij,nj->ni", precision, seen)


def posteriors(expected, shown, precision, weighted):
    """Mean and second moment of each image's posterior under a prior."""
    covariance = np.linalg.inv(precision + np.linalg.inv(shown @ expected @ shown.transpose(0, 2, 1)))
    mean = np.einsum("nij,nj->ni", covariance, weighted)
    return mean, covariance + mean[:, :, None] * mean[:, None]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hinge_is_found_through_errors_larger_than_it(seed):
    """10 degrees about z with a lever of 30 Å, 1 degree about the others; errors of 8 degrees and 4 Å."""
    turn = np.deg2rad([1.0, 1.0, 10.0])
    lever = np.array([[0, 0, 0], [0, 0, 30.0], [0, 0, 0]])  # t = lever @ w
    true = np.block([[np.diag(turn**2), np.diag(turn**2) @ lever.T], [lever @ np.diag(turn**2), np.zeros((3, 3))]])
    true[3:, 3:] = lever @ np.diag(turn**2) @ lever.T + np.eye(3) * 0.25
    noise = np.diag(np.repeat([np.deg2rad(8.0) ** 2, 16.0], [3, 2]))
    views, shown, precision, weighted = observations(true, noise, seed)
    found = first_motion(15.0, 5.0)
    for _ in range(60):
        found = update_motion(found, views, *posteriors(found, shown, precision, weighted))
    assert np.rad2deg(np.sqrt(found[2, 2])) == pytest.approx(10.0, rel=0.1)
    assert np.sqrt(found[4, 4]) == pytest.approx(np.sqrt(true[4, 4]), rel=0.1)
    assert found[2, 4] / np.sqrt(found[2, 2] * found[4, 4]) > 0.9  # rotation and displacement are coupled
    assert np.rad2deg(np.sqrt(found[0, 0])) < 2.5


def test_a_rigid_body_is_found_to_be_rigid():
    noise = np.diag(np.repeat([np.deg2rad(5.0) ** 2, 4.0], [3, 2]))
    views, shown, precision, weighted = observations(np.eye(6) * 1e-12, noise, 4)
    found = first_motion(10.0, 3.0)
    for _ in range(60):
        found = update_motion(found, views, *posteriors(found, shown, precision, weighted))
    assert np.rad2deg(np.sqrt(np.diag(found)[:3])).max() < 1.0
    assert np.sqrt(np.diag(found)[3:]).max() < 0.4


def test_images_that_say_nothing_change_nothing():
    expected = first_motion(7.0, 2.0)
    views, shown, precision, weighted = observations(expected, np.eye(5), 5)
    found = update_motion(expected, views, *posteriors(expected, shown, precision * 1e-12, weighted * 0))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_more_steps_only_go_further_to_where_the_slow_ones_go():
    """From posteriors computed anew each time, the fixed point is that of steps that are exact."""
    true = np.diag(np.repeat([np.deg2rad(6.0) ** 2, 4.0], 3))
    views, shown, precision, weighted = observations(true, np.diag(np.repeat([0.01, 4.0], [3, 2])), 6)
    found, slow = first_motion(20.0, 8.0), first_motion(20.0, 8.0)
    for _ in range(30):
        found = update_motion(found, views, *posteriors(found, shown, precision, weighted))
    for _ in range(200):
        _, square = posteriors(slow, shown, precision, weighted)
        across = slow @ shown.transpose(0, 2, 1)
        gain = across @ np.linalg.inv(shown @ across)
        slow = (gain @ square @ gain.transpose(0, 2, 1) + slow - gain @ across.transpose(0, 2, 1)).mean(0)
        slow = (slow + slow.T) / 2
    np.testing.assert_allclose(np.diag(found), np.diag(slow), rtol=0.02)
