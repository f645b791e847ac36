"""Noise before the first iteration: known spectra of simulated noise, and what is done where nothing is measured."""

import mrcfile
import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.expectation import initial_noise as module
from blush.expectation.initial_noise import initial_noise
from blush.fourier.mask import soft_circle
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet

BOX, PIXEL, DIAMETER = 32, 2.0, 36.0


def particle_set(folder, images: np.ndarray, optics_index=None, n_groups: int = 1) -> ParticleSet:
    with mrcfile.new(folder / "stack.mrcs", overwrite=True) as stack:
        stack.set_data(images.astype(np.float32))
    n = len(images)
    numbers = {name: np.zeros(n) for name in (
        "defocus_u_angst", "defocus_v_angst", "defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "ctf_scale",
        "rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst", "norm_correction")}  # fmt: skip
    return ParticleSet(
        image_index=np.arange(n), stack_index=np.zeros(n, np.int32),
        optics_index=np.zeros(n, np.int32) if optics_index is None else np.asarray(optics_index, np.int32),
        group_index=np.zeros(n, np.int32), half=np.ones(n, np.int8), stacks=(str(folder / "stack.mrcs"),),
        optics=tuple(OpticsGroup(f"g{i}", 300, 2.7, 0.1, PIXEL, BOX) for i in range(n_groups)), has_poses=False,
        **numbers,
    )  # fmt: skip


def white(n: int, sigma: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sigma, (n, BOX, BOX))


def of_white_noise(sigma: float) -> float:
    """sigma^2 <mask^2> / 2 N^2 per component, the mask with an edge of 5 px (docs/algorithm.md, section 3)."""
    mask = soft_circle(BOX, DIAMETER / 2 / PIXEL, 5.0, dtype=torch.float64)
    return sigma**2 * float(mask.square().mean()) / (2 * BOX**2)


def test_white_noise_is_flat_at_its_variance(tmp_path):
    noise = initial_noise(particle_set(tmp_path, white(300, 1.7)), DIAMETER, seed=1)
    assert noise.shape == (1, BOX // 2 + 1)
    assert noise.dtype == torch.float64
    # Shell 2 has 12 coefficients, half independent, of 300 images: 1 / sqrt(1800) = 2.4 %, masks correlate some.
    np.testing.assert_allclose(noise[0, 2:-1], of_white_noise(1.7), rtol=0.12)
    np.testing.assert_allclose(noise[0, 2:-1].mean(), of_white_noise(1.7), rtol=0.01)


def test_what_all_images_share_is_not_noise(tmp_path):
    axis = np.arange(BOX) - BOX // 2
    blob = 30 * np.exp(-(axis[:, None] ** 2 + axis**2) / 18.0)
    bare = initial_noise(particle_set(tmp_path, white(300, 1.0)), DIAMETER, seed=1)
    with_blob = initial_noise(particle_set(tmp_path, white(300, 1.0) + blob), DIAMETER, seed=1)
    # The mean image keeps 1/300 of the noise, and its product with the blob: 2 |blob| |noise| / sqrt(300).
    np.testing.assert_allclose(with_blob[0, 4:], bare[0, 4:], rtol=0.1)


def test_each_optics_group_has_its_own_spectrum(tmp_path):
    images = white(400, 1.0)
    group = np.arange(400) % 2
    images[group == 1] *= 3
    noise = initial_noise(particle_set(tmp_path, images, group, 2), DIAMETER, seed=1)
    np.testing.assert_allclose(noise[0, 3:-1].mean(), of_white_noise(1.0), rtol=0.02)
    np.testing.assert_allclose(noise[1, 3:-1].mean(), of_white_noise(3.0), rtol=0.02)


def test_a_group_of_one_particle_has_the_noise_of_its_image(tmp_path):
    """The average of all images is subtracted: that of the group alone would be the image itself, and leave nothing."""
    noise = initial_noise(particle_set(tmp_path, white(201, 1.0), [0] * 200 + [1], 2), DIAMETER, seed=1)
    # Shells 6 to 15 of a single image hold about 370 independent coefficients.
    np.testing.assert_allclose(noise[1, 6:-1].mean(), of_white_noise(1.0), rtol=0.25)


def test_a_group_without_particles_is_given_ones(tmp_path):
    noise = initial_noise(particle_set(tmp_path, white(20, 1.0), [1] * 20, 2), DIAMETER, seed=1)
    assert torch.equal(noise[0], torch.ones(BOX // 2 + 1, dtype=torch.float64))
    assert (noise[1] < 0.1).all()


def test_a_shell_without_noise_takes_its_neighbours(tmp_path):
    """A weak group beside a strong one: at low resolution the common average has more power than the weak group."""
    blob = np.ones((BOX, BOX)) * np.hanning(BOX) * np.hanning(BOX)[:, None]
    images = white(40, 1.0) + blob * np.where(np.arange(40) < 20, 0.1, 10)[:, None, None]
    noise = initial_noise(particle_set(tmp_path, images, np.arange(40) // 20, 2), DIAMETER, seed=1)
    assert (noise > 0).all()
    assert float(noise[0, 0]) == float(noise[0, 1])  # neither was measured: both took the first that was


def test_copies_of_one_image_are_refused(tmp_path):
    images = np.repeat(np.round(4 * white(1, 1.0)), 8, axis=0)
    with pytest.raises(
        BlushError, match=r"optics group g0: its images leave no noise.*normalise or extract them again"
    ):
        initial_noise(particle_set(tmp_path, images), DIAMETER, seed=1)


def test_blocks_of_images_change_nothing(tmp_path, monkeypatch):
    particles = particle_set(tmp_path, white(40, 1.0))
    whole = initial_noise(particles, DIAMETER, seed=1)
    monkeypatch.setattr(module, "BLOCK", 7)
    torch.testing.assert_close(initial_noise(particles, DIAMETER, seed=1), whole, rtol=1e-6, atol=0)


def test_at_most_a_thousand_particles_of_a_group_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PARTICLES_PER_GROUP", 12)
    images = white(30, 1.0)
    particles = particle_set(tmp_path, images)
    taken = []
    original = ParticleSet.images

    def counted(self):
        taken.append(len(self))
        return original(self)

    monkeypatch.setattr(ParticleSet, "images", counted)
    first = initial_noise(particles, DIAMETER, seed=1)
    assert sum(taken) == 12
    assert torch.equal(first, initial_noise(particles, DIAMETER, seed=1))
    assert not torch.equal(first, initial_noise(particles, DIAMETER, seed=2))
