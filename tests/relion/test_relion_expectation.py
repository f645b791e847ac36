"""Sums, likelihoods and noise of one iteration with given poses against relion_refine --skip_align."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from relion_data import BOX_PX
from relion_engine import DIAMETER_ANGST, Iteration, assert_sums_agree, iterate, model_value, noise_of

from blush.expectation.initial_noise import initial_noise
from blush.expectation.prepare import prepare
from blush.fourier.mask import soft_circle
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.shift import round_half_away
from blush.io.particles import read_particles
from blush.io.star import read_star
from blush.maximization.noise import update_noise
from blush.maximization.spectra import reference_noise

pytestmark = pytest.mark.relion


@pytest.fixture(scope="module", params=[("full/run", 10), ("cut/run", 5)], ids=["full-size", "cut-size"])
def iteration(request, data_set, run_relion) -> Iteration:
    """At the full box, and cut at a smaller current size."""
    root, increment = request.param
    done = iterate(data_set, run_relion, root, "--incr_size", increment)
    assert (done.ours.model.radius == BOX_PX // 2) == (increment == 10)
    return done


def test_back_projected_data_and_weight_are_the_same(iteration):
    assert_sums_agree(iteration)


@dataclass(frozen=True)
class Rim:
    """What RELION leaves to chance or leaves out at |k| = r_max, per particle and in units of |X|^2.

    Attributes
    ----------
    lost
        Power of the pixels that its cropped transform lacks: ky = -r_max, in whose place is ky = +r_max.
    count
        Number of those pixels.
    rounding
        Change of |X - P|^2 where P is dropped at |k| = r_max exactly, which rounding decides in RELION.
    """

    lost: np.ndarray
    count: int
    rounding: np.ndarray


@pytest.fixture(scope="module")
def rim(iteration) -> Rim:
    ours, radius = iteration.ours, iteration.ours.model.radius
    pixels, particles = packed(BOX_PX), ours.particles
    images = torch.from_numpy(particles.images()).double()
    old_px = torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], -1))
    whole_px = round_half_away(old_px / ours.model.pixel_size_angst)
    mask = soft_circle(BOX_PX, DIAMETER_ANGST / (2 * ours.model.pixel_size_angst), 5.0, dtype=images.dtype)
    ones = torch.ones(len(images), dtype=torch.float64)
    masked = prepare(images, ones, whole_px, mask, pixels, len(pixels.kx)).masked
    missing = (pixels.ky == -radius) & (pixels.shell == radius)
    count = pixels.inside(radius)
    slices = project(ours.model.component.sphere, ours.model.component.grid.given, pixels, count)
    at_rim = pixels.k2[:count] == radius**2
    predicted = (slices * ours.engine.tables.ctf(particles, count)[:, None])[:, :, at_rim].square().sum(1)
    image = masked[:, :, :count][:, :, at_rim].square().sum(1)
    change = 2 * (image * predicted).sqrt() + predicted
    return Rim(masked[:, :, missing].square().sum((1, 2)).numpy(), int(missing.sum()), change.sum(1).numpy())


def test_the_crop_loses_pixels_only_below_the_full_size(iteration, rim):
    assert (rim.count == 0) == (iteration.ours.model.radius == BOX_PX // 2)


def test_log_likelihoods_are_the_same(iteration, rim):
    """To 1e-6 of their size, once the pixels that RELION's crop loses are taken out of ours."""
    model = iteration.ours.model
    noise = float(model.noise[0, model.radius])
    ours = iteration.ours.log_likelihood
    ours = ours + rim.lost / (2 * noise) + rim.count * np.log(2 * np.pi * noise)
    theirs = iteration.column("rlnLogLikeliContribution")
    assert (np.abs(ours - theirs) <= 1e-6 * np.abs(theirs) + rim.rounding / (2 * noise)).all()
    assert np.median(np.abs(ours - theirs) / np.abs(theirs)) < 1e-6


def test_norm_corrections_are_the_same(iteration, rim):
    """To the six digits printed; they are sqrt(2 |X - P|^2)."""
    squared = iteration.ours.sums.table["norm_correction"].numpy() ** 2 - 2 * rim.lost
    theirs = iteration.column("rlnNormCorrection")
    assert (np.abs(np.sqrt(squared) - theirs) <= 1.1e-6 + rim.rounding / theirs).all()
    assert np.median(np.abs(np.sqrt(squared) - theirs)) < 1e-6


def test_updated_noise_is_the_same(iteration, rim):
    """Seven digits are printed."""
    sums, model = iteration.ours.sums, iteration.ours.model
    residual = sums.noise.numpy().copy()
    residual[0, model.radius] -= rim.lost.sum()
    ours = update_noise(residual, sums.weight.numpy(), model.noise.numpy())[0]
    theirs = noise_of(iteration.file(1, "model"), 1)[0]
    tolerance = 5.1e-7 * theirs
    tolerance[model.radius] *= 1 + 100 * (model.radius < BOX_PX // 2)  # see `Rim.rounding`; 1e-5 measured
    assert (np.abs(ours - theirs) <= tolerance).all()


def test_offset_width_is_the_same(iteration):
    sums = iteration.ours.sums
    ours = np.sqrt(float(sums.offset_square) / (2 * float(sums.weight.sum())))
    assert abs(ours - model_value(iteration.file(1, "model"), "rlnSigmaOffsetsAngst")) < 1.1e-6


def test_reference_noise_is_the_same(iteration):
    """sigma^2 of the reconstruction, below the rim (see `assert_sums_agree`); seven digits are printed."""
    theirs = np.asarray(read_star(iteration.file(1, "model"))["model_class_1"]["rlnReferenceSigma2"], dtype=float)
    radius = iteration.ours.model.radius
    small = (theirs[: radius - 1] < 1e-3).nonzero()[0]
    assert len(small) > 5
    np.testing.assert_allclose(reference_noise(iteration.ours.volume)[small], theirs[small], rtol=1e-6)


def test_initial_noise_is_the_same(iteration):
    """From all 300 images; seven digits are printed."""
    particles, _ = read_particles(iteration.data.star)
    ours = initial_noise(particles, DIAMETER_ANGST, seed=1)
    np.testing.assert_allclose(ours.numpy(), iteration.ours.model.noise.numpy(), rtol=5.1e-7)
