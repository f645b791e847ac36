"""Log likelihoods of references at given poses, against the sum over pixels that they stand for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_problem import BOX, N_FINE, PIXELS, RADIUS, model, particle_set, speckle

from blush.expectation.component import Component, Reference
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import mask_images, packed_transform
from blush.expectation.shard import Expectation
from blush.fourier.mask import soft_circle
from blush.fourier.project import project
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler


@pytest.fixture
def problem(tmp_path):
    """Five images of noise at poses drawn by lot, two references, noise that falls with frequency."""
    rng = np.random.default_rng(4)
    angles = {name: rng.uniform(0, 180, 5) for name in ("rot_deg", "tilt_deg", "psi_deg")}
    particles = particle_set(tmp_path, rng.normal(0, 0.3, (5, BOX, BOX)), **angles)
    spheres = [transform(speckle(seed), RADIUS) for seed in (1, 2)]
    given = model(torch.float64)
    references = tuple(Reference(sphere, log_prior) for sphere, log_prior in zip(spheres, (0.7, -2.0), strict=True))
    noise = torch.linspace(2, 0.5, BOX // 2 + 1, dtype=torch.float64).expand(2, -1) * 1e-3
    changes = {"noise": noise, "scale": torch.tensor([0.8, 1.0, 1.3], dtype=torch.float64), "fixed_poses": True}
    return replace(given, component=Component(references, given.component.grid), **changes), particles, spheres


def test_differences_are_those_of_the_residuals(problem):
    """-|X - s CTF P|^2 / (2 sigma^2) summed over the half plane, shells 1 .. radius; priors are not in it."""
    given, particles, spheres = problem
    found = Expectation(given, particles, torch.float64, torch.device("cpu")).log_likelihoods(particles)
    radius_px = given.particle_diameter_angst / 2 / given.pixel_size_angst
    images = torch.from_numpy(particles.images()).double()
    circle = soft_circle(BOX, radius_px, 5, dtype=torch.float64)
    data = packed_transform(mask_images(images, circle), PIXELS)[:, :N_FINE]
    ctf = OpticsTables(particles, PIXELS, torch.float64).ctf(particles, N_FINE)
    euler = torch.from_numpy(np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], 1))
    sigma2 = given.noise[torch.from_numpy(particles.optics_index).long()][:, PIXELS.shell[:N_FINE]]
    scale = given.scale[torch.from_numpy(particles.group_index).long()][:, None]
    expected = []
    for sphere in spheres:
        slices = project(sphere, matrix_from_euler(euler), PIXELS, N_FINE)
        predicted = scale * ctf * torch.complex(slices[:, 0], slices[:, 1])
        residual = (data - predicted).abs().square() / (2 * sigma2)
        expected.append(-residual[:, 1:].sum(1))
    difference = expected[0] - expected[1]
    torch.testing.assert_close(found[:, 0] - found[:, 1], difference, rtol=1e-9, atol=1e-9)
    assert float(difference.abs().min()) > 0.1


def test_a_search_has_no_such_likelihood(problem):
    given, particles, _ = problem
    searching = Expectation(replace(given, fixed_poses=False), particles, torch.float64, torch.device("cpu"))
    with pytest.raises(ValueError, match="takes poses as given"):
        searching.log_likelihoods(particles)
