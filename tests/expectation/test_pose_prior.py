"""Prior of motions about given poses: its density, its moments, and the search under it."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import multivariate_normal
from small_problem import BOX, PIXEL, particle_set, speckle

from blush.expectation.component import Component, Reference
from blush.expectation.fine import Posterior
from blush.expectation.model import Model
from blush.expectation.pose_prior import AnchoredFinePrior, PosePrior
from blush.expectation.shard import Expectation
from blush.expectation.sparse import Pairs
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler, rotation_vector
from blush.geometry.sampling import OrientationGrid, offset_grid

N = 5
RNG = np.random.default_rng(11)


def a_covariance(seed):
    """A (6, 6) covariance that couples everything: about 6 degrees and 3 Å."""
    root = np.random.default_rng(seed).normal(size=(6, 6)) * np.repeat([0.1, 3.0], 3)[:, None]
    return root @ root.T / 6 + np.diag(np.repeat([1e-4, 0.1], 3))


@pytest.fixture
def anchors():
    """(N, 5) given poses."""
    return np.column_stack([RNG.uniform(-180, 180, N), RNG.uniform(5, 175, N), RNG.uniform(-180, 180, (N,)),
                            RNG.normal(size=(N, 2)) * 4])  # fmt: skip


def test_rotation_vectors_are_those_of_scipy():
    vectors = RNG.normal(size=(50, 3))
    vectors *= (RNG.uniform(0, np.pi - 1e-3, 50) / np.linalg.norm(vectors, axis=1))[:, None]
    vectors[0], vectors[1] = 0, (1e-9, 0, 0)
    found = rotation_vector(torch.from_numpy(Rotation.from_rotvec(vectors).as_matrix()))
    np.testing.assert_allclose(found.numpy(), vectors, rtol=0, atol=1e-9)
    half_turn = rotation_vector(torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64)))
    assert float(half_turn.norm()) == pytest.approx(math.pi)


def test_the_density_is_that_of_the_gaussian_of_what_an_image_shows(anchors):
    """Against scipy's density of (w, A_xy t), up to a constant of each image."""
    motion = a_covariance(3)
    prior = PosePrior.of(torch.from_numpy(motion), anchors, torch.device("cpu"))
    turned = Rotation.from_rotvec(RNG.normal(size=(N * 4, 3)) * 0.1).as_matrix().reshape(N, 4, 3, 3)
    view = matrix_from_euler(torch.from_numpy(anchors[:, :3])).numpy()
    offsets = anchors[:, None, 3:] + RNG.normal(size=(N, 3, 2))
    image = torch.arange(N)
    vectors = prior.motion(image, torch.from_numpy(view[:, None] @ turned))
    found = prior.log_density(image, vectors, torch.from_numpy(offsets)).numpy()
    for i in range(N):
        shown = np.zeros((5, 6))
        shown[:3, :3], shown[3:, 3:] = np.eye(3), view[i, :2]
        gaussian = multivariate_normal(np.zeros(5), shown @ motion @ shown.T)
        expected = np.array(
            [[gaussian.logpdf([*Rotation.from_matrix(r).as_rotvec(), *(anchors[i, 3:] - o)]) for r in turned[i]]
             for o in offsets[i]]
        )  # fmt: skip
        np.testing.assert_allclose(found[i] - found[i, 0, 0], expected - expected[0, 0], rtol=1e-7, atol=1e-7)


def test_moments_are_weighted_sums_over_all_samples(anchors):
    """Against a loop over images, pairs, shifts and children."""
    children, rows, shifts = 3, 7, 4
    turned = Rotation.from_rotvec(RNG.normal(size=(rows * children, 3)) * 0.4).as_matrix()
    matrices = torch.from_numpy(turned.reshape(rows, children, 3, 3))
    row = torch.tensor([0, 1, 1, 3, 4, 6, 6, 6])
    pairs = Pairs(torch.tensor([0, 1, 2, 0, 4, 1, 3, 4]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]), row)
    weight = torch.rand(8, 4, children, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    prior = PosePrior.of(torch.from_numpy(a_covariance(5)), anchors, torch.device("cpu"))
    fine = AnchoredFinePrior(prior, torch.arange(2.0 * N).view(N, 2), torch.randn(shifts, 4, 2).double())
    nothing = torch.zeros(0)
    posterior = Posterior(pairs, weight, nothing, nothing, nothing, nothing, nothing, nothing, matrices,
                          edges=[0, 3, 5, 8], reference_edges=[0, rows], block_size=3, score=weight)  # fmt: skip
    mean, square = fine.moments(posterior, N)
    for image in range(N):
        first, second, total = np.zeros(5), np.zeros((5, 5)), 0.0
        for p in range(8):
            if int(pairs.image[p]) != image:
                continue
            for s in range(4):
                for c in range(children):
                    w = rotation_vector(prior.anchor[image].T @ matrices[row[p], c]).numpy()
                    offset = fine.whole_angst[image] + fine.fine_angst[pairs.shift[p], s]
                    y = np.concatenate([w, (prior.origin_angst[image] - offset).numpy()])
                    share = float(weight[p, s, c])
                    first, second, total = first + share * y, second + share * np.outer(y, y), total + share
        np.testing.assert_allclose(mean[image].numpy(), first / total, rtol=0, atol=1e-12)
        np.testing.assert_allclose(square[image].numpy(), second / total, rtol=0, atol=1e-11)


def step_of(tmp_path, noise, motion, images=None, **changed):
    """An expectation step over images at given poses, and the images."""
    rng = np.random.default_rng(2)
    pose = {name: rng.uniform(-90, 90, N) for name in ("rot_deg", "psi_deg")} | {"tilt_deg": rng.uniform(30, 150, N)}
    particles = particle_set(tmp_path, rng.normal(size=(N, BOX, BOX)) if images is None else images, **pose)
    anchor = np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg,
                       particles.offset_x_angst, particles.offset_y_angst], 1)  # fmt: skip
    particles = replace(particles, anchor=anchor, optics_index=np.zeros(N, np.int32), optics=particles.optics[:1])
    grid = OrientationGrid.build(3)
    model = Model(
        component=Component((Reference(transform(speckle(), 7)),), grid),
        pixel_size_angst=PIXEL, particle_diameter_angst=BOX * PIXEL, coarse_radius=6, radius=7,
        noise=torch.full((1, BOX // 2 + 1), noise, dtype=torch.float64),
        scale=torch.ones(int(particles.group_index.max()) + 1, dtype=torch.float64), norm_average=1.0,
        offsets_angst=offset_grid(2 * PIXEL, PIXEL), offset_step_angst=PIXEL, sigma_offset_angst=5.0,
        local_sigma_deg=6.0, motion=torch.from_numpy(motion), adaptive_fraction=1 - 1e-9, **changed,
    )  # fmt: skip
    return Expectation(model, particles, torch.float64, torch.device("cpu")), particles


def test_images_that_say_nothing_leave_the_prior(tmp_path):
    """With noise far above the signal, second moments are the prior's own: widths of 4 degrees and 2 Å."""
    motion = np.diag(np.repeat([np.deg2rad(4.0) ** 2, 2.0**2], 3))
    step, particles = step_of(tmp_path, 1e12, motion)
    table = step.run(particles).table
    square = table["motion_square"].mean(0)
    assert square[:3, :3].diagonal().sqrt().rad2deg().numpy() == pytest.approx([4.0] * 3, rel=0.12)
    assert square[3:, 3:].diagonal().sqrt().numpy() == pytest.approx([2.0] * 2, rel=0.12)
    assert table["motion_mean"].abs()[:, :3].rad2deg().max() < 1.5


def test_a_narrow_prior_keeps_every_image_where_it_is(tmp_path):
    """Where the likelihood would take them elsewhere: pure noise, which is certain of something."""
    step, particles = step_of(tmp_path, 1e-3, np.diag(np.repeat([1e-6, 1e-4], 3)))
    table = step.run(particles).table
    assert table["motion_square"][:, :3, :3].diagonal(dim1=1, dim2=2).sqrt().rad2deg().max() < 4.0  # of a 3.75 deg grid
    free, particles = step_of(tmp_path, 1e-3, np.diag(np.repeat([1.0, 100.0], 3)))
    assert (
        free.run(particles).table["motion_square"][:, :3, :3].diagonal(dim1=1, dim2=2).sum(1).sqrt().rad2deg().max() > 6
    )


def test_a_likelihood_that_is_less_sure_leaves_wider_posteriors(tmp_path):
    motion = np.diag(np.repeat([np.deg2rad(5.0) ** 2, 3.0**2], 3))
    sure, particles = step_of(tmp_path, 0.3, motion)
    less, _ = step_of(tmp_path, 0.3, motion, pose_temperature=4.0)
    widths = [one.run(particles).table["pmax"].mean() for one in (sure, less)]
    assert widths[1] < widths[0]
