"""Evidence: the prior is divided out, motions of the whole are left free, and coordinates are displacements in Å."""

from dataclasses import replace

import numpy as np
import pytest
from drawn import EQUAL, THREE, about_hinge, hinge, right_jacobian, seen, still, turns, with_body_still
from scipy.spatial.transform import Rotation

from blush.bodies.evidence import Frame, evidence_of, without_prior
from blush.bodies.motions import mask_extent


def test_what_a_posterior_has_of_its_prior_is_divided_out():
    """Likelihood times prior is the posterior, for any covariances."""
    rng = np.random.default_rng(1)
    likelihood, prior = (np.linalg.inv(root @ root.swapaxes(1, 2)) for root in rng.normal(size=(2, 7, 5, 5)))
    measured = rng.normal(size=(7, 5))
    covariance = np.linalg.inv(likelihood + prior)
    mean = np.einsum("nij,njk,nk->ni", covariance, likelihood, measured)
    information, score, nothing = without_prior(mean, covariance, 1e-2 * prior, np.zeros_like(covariance))
    expected = likelihood + 0.99 * prior
    np.testing.assert_allclose(information, expected, rtol=1e-6)
    np.testing.assert_allclose(score, np.einsum("nij,nj->ni", likelihood, measured), rtol=1e-6, atol=1e-6)
    assert not nothing.any()


def test_an_image_that_only_knows_the_prior_says_nothing():
    """Along the second axis the posterior is the prior; along the first it is narrower by half."""
    covariance = np.diag([0.5, 1.0])[None]
    information, score, nothing = without_prior(
        np.array([[1.0, 3.0]]), covariance, np.eye(2)[None], np.zeros((1, 2, 2))
    )
    np.testing.assert_allclose(information[0], np.diag([1.0, 0.0]), atol=1e-12)
    np.testing.assert_allclose(score[0], [2.0, 0.0], atol=1e-12)
    assert nothing.tolist() == [1]


def test_the_error_of_a_grid_makes_a_measurement_of_the_mean():
    """One direction: of a posterior mean C K m with error e, score and information are those of linear regression."""
    of_likelihood, of_prior, error = 4.0, 1.0, 0.3
    covariance = 1 / (of_likelihood + of_prior)
    slope, variance = covariance * of_likelihood, covariance * of_likelihood * covariance + error
    found = without_prior(*(np.full(shape, value) for shape, value in (
        ((1, 1), 0.7), ((1, 1, 1), covariance), ((1, 1, 1), of_prior), ((1, 1, 1), error))))  # fmt: skip
    assert found[0].item() == pytest.approx(slope**2 / variance)
    assert found[1].item() == pytest.approx(slope / variance * 0.7)


def displacement(information, score):
    """(n,) Å that scores speak of, along what images know best."""
    known, axes = np.linalg.eigh(information)
    along = np.einsum("nji,nj->ni", axes, score) / known[:, -1:]
    return np.linalg.norm(along, axis=1)


@pytest.mark.parametrize("bodies", [EQUAL, THREE])
def test_a_turn_and_a_shift_of_the_whole_are_no_motion_inside(bodies):
    """However far the consensus pose is off, and whatever the view: without noise, it explains all that is seen."""
    motions = seen(bodies, still(50, len(bodies.radii)), 2, noise=(1e-4, 1e-4), consensus=(10.0, 5.0))
    frame = Frame.of(motions)
    evidence = evidence_of(motions, frame)
    seen_whole = evidence.information @ frame.whole
    fitted = np.einsum("nij,nj->ni", np.linalg.pinv(frame.whole.T @ seen_whole, rcond=1e-9, hermitian=True),
                       evidence.score @ frame.whole)  # fmt: skip
    left = evidence.score - np.einsum("nij,nj->ni", seen_whole, fitted)
    far, off_angst = (displacement(evidence.information, score) for score in (evidence.score, left))
    assert far.min() > 0.5
    assert off_angst.max() < 0.01 * far.min()
    assert frame.inside.shape == (6 * len(bodies.radii), 6 * len(bodies.radii) - 6)


def test_coordinates_are_root_mean_square_displacements():
    """Of points in both balls, superposed: the length of the coordinates is their rms displacement from the mean."""
    angle_deg = 4.0
    motions = seen(EQUAL, hinge(EQUAL, np.full(3, angle_deg)), 3)
    frame = Frame.of(motions)
    rng = np.random.default_rng(1)
    ball = rng.normal(size=(20_000, 3))
    ball *= 28 * rng.random((20_000, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=1, keepdims=True)
    turn = turns(np.array([angle_deg]))[0]
    before = np.concatenate([ball + centre for centre in EQUAL.centres])
    shift = about_hinge(turn, EQUAL.centres[1])
    after = np.concatenate([ball + EQUAL.centres[0], ball @ turn.T + EQUAL.centres[1] + shift])
    fitted, _ = Rotation.align_vectors(after - after.mean(0), before - before.mean(0))
    moved = after - after.mean(0) - fitted.apply(before - before.mean(0))
    vectors = np.concatenate([np.zeros(6), Rotation.from_matrix(turn).as_rotvec(), shift]).reshape(2, 6)
    coordinates = np.concatenate([scale @ one for scale, one in zip(frame.scale, vectors, strict=True)])
    assert np.linalg.norm(coordinates @ frame.inside) == pytest.approx(np.sqrt((moved**2).sum(1).mean()), rel=0.01)
    np.testing.assert_allclose(frame.motion(coordinates), vectors, atol=1e-12)


def test_errors_are_those_of_right_perturbations():
    """The covariance of a body that has turned by 60 degrees is that of its rotation vector, by differences."""
    n = 4
    motions = seen(EQUAL, hinge(EQUAL, np.full(n, 60.0), (1, 2, 3)), 5)
    motions = with_body_still(motions, 0)
    frame = Frame.of(motions)
    found = np.linalg.inv(frame.scale[0]) @ np.eye(6)
    free = replace(motions, prior=1e6 * motions.prior)
    information = evidence_of(free, frame).information
    vector = Rotation.from_matrix(motions.rotations[1]).as_rotvec()
    shown = np.zeros((n, 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = right_jacobian(vector), motions.views[:, :2]
    expected = shown.swapaxes(1, 2) @ np.linalg.inv(motions.covariance[1]) @ shown
    np.testing.assert_allclose(information, found.T @ expected @ found, rtol=1e-4, atol=1e-4 * information.max())


def test_one_refined_body_moves_against_the_consensus():
    motions = with_body_still(seen(EQUAL, hinge(EQUAL, np.full(5, 4.0)), 1), 0)
    frame = Frame.of(motions)
    assert frame.bodies == (1,)
    assert frame.inside.shape == (6, 6)
    assert frame.whole.shape == (6, 0)


def test_each_half_has_the_prior_that_it_was_refined_under():
    motions = seen(EQUAL, hinge(EQUAL, np.linspace(-10, 10, 8)), 1)
    mixed = motions.prior * np.array([1.0, 0.3])[:, None, None, None]
    alone = [replace(motions, prior=np.stack([mixed[half], mixed[half]])) for half in (0, 1)]
    frame = Frame.of(motions)
    found = evidence_of(replace(motions, prior=mixed), frame)
    for half in (0, 1):
        rows = motions.half == half + 1
        expected = evidence_of(alone[half], frame)
        np.testing.assert_allclose(found.information[rows], expected.information[rows])
        np.testing.assert_allclose(found.score[rows], expected.score[rows])
        assert np.abs(found.information - expected.information)[~rows].max() > 0.01 * np.abs(found.information).max()


@pytest.mark.parametrize(("width", "error"), [(1.0, 1.0), (2.0, 96 * np.pi**2 / 36 * np.exp(-2 * np.pi**2 / 3))])
def test_posteriors_as_narrow_as_their_grid_may_be_anywhere_in_a_cell(width, error):
    """Of a pose that is not turned, all widths alike: information (1 - k)^2 / (C (1 - k) + E), k = C / prior."""
    cell, prior = 1e-4, 4e-4
    motions = with_body_still(seen(EQUAL, still(3, 2), 1), 0)
    motions = replace(
        motions,
        rotations=still(3, 2)[0],
        shift_angst=0 * motions.shift_angst,
        covariance=np.broadcast_to(width * cell * np.eye(5), (2, 3, 5, 5)),
        prior=np.broadcast_to(prior * np.eye(6), (2, 2, 6, 6)),
        grid=np.full((2, 5), cell),
    )
    frame = Frame.of(motions)
    share = width * cell / prior
    value = (1 - share) ** 2 / (width * cell * (1 - share) + error * cell)
    shown = np.zeros((3, 5, 6))
    shown[:, :3, :3], shown[:, 3:, 3:] = np.eye(3), motions.views[:, :2]
    back = shown @ np.linalg.inv(frame.scale[0])
    np.testing.assert_allclose(evidence_of(motions, frame).information, value * back.swapaxes(1, 2) @ back, rtol=1e-6)


@pytest.mark.parametrize("centre", [(0.0, 0.0, 0.0), (-14.0, 6.0, 20.0)])
def test_coordinates_are_displacements_of_the_density_about_any_centre(centre):
    """A small turn w and shift t about c move the point x by w x (x - c) + t; its mean square over the mask."""
    rng = np.random.default_rng(5)
    mask = rng.uniform(size=(8, 8, 8)).astype(np.float32)
    mask[:, :3] = 0
    volume, middle, spread = mask_extent(mask, np.array(centre), 2.0)
    drawn = seen(EQUAL, still(4, 2), 1)
    one = replace(
        drawn, refined=np.array([True, False]), volume_angst3=np.array([volume, 1.0]),
        centre_angst=np.array([centre, (0.0, 0.0, 0.0)]), middle_angst=np.array([middle, np.zeros(3)]),
        spread_angst2=np.stack([spread, drawn.spread_angst2[1]]),
    )  # fmt: skip
    turn, shift = rng.normal(0, 0.1, 3), rng.normal(0, 2, 3)
    z, y, x = np.indices(mask.shape) - 4
    moved = np.cross(turn, np.stack([x, y, z], -1) * 2.0 - centre) + shift
    expected = (mask * (moved**2).sum(-1)).sum() / mask.sum()
    found = Frame.of(one).scale[0] @ np.concatenate([turn, shift])
    assert found @ found == pytest.approx(expected, rel=1e-5)
