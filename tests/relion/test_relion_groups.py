"""Several optics and micrograph groups at once: noise, scale and sums against relion_refine."""

import numpy as np
import pytest
from relion_data import write_data_set
from relion_engine import Iteration, assert_sums_agree, iterate, noise_of

from blush.io.star import read_star
from blush.maximization.noise import update_noise, update_scale

pytestmark = pytest.mark.relion
GROUPS = {
    "OpticsGroup": [1, 2, 3],
    "OpticsGroupName": ["one", "two", "three"],
    "Voltage": [300.0, 200.0, 120.0],
    "SphericalAberration": [2.7, 1.4, 0.01],
    "AmplitudeContrast": [0.1, 0.07, 0.2],
    "ImagePixelSize": [6.0] * 3,
    "ImageSize": [32] * 3,
    "ImageDimensionality": [2] * 3,
    "BeamTiltX": [0.5, 0.0, -0.7],
    "BeamTiltY": [0.1, 0.3, 0.0],
}


@pytest.fixture(scope="module")
def iteration(relion_project_folder, run_relion) -> Iteration:
    data = write_data_set(
        relion_project_folder, "groups", n=200, noise=(0.4, 0.3, 0.5), signal=(0.8, 1.0, 1.3), **GROUPS
    )
    return iterate(data, run_relion, "groups/run", "--incr_size", 10)


def test_sums_over_groups_are_the_same(iteration):
    assert_sums_agree(iteration)


def test_likelihoods_of_every_group_are_the_same(iteration):
    ours = iteration.ours.log_likelihood
    np.testing.assert_allclose(ours, iteration.column("rlnLogLikeliContribution"), rtol=1e-6)


def test_noise_of_every_group_is_the_same(iteration):
    """Seven digits are printed; in the last shell ours lacks the single samples of the padded map at its Nyquist."""
    sums, model = iteration.ours.sums, iteration.ours.model
    ours = update_noise(sums.noise.numpy(), sums.weight.numpy(), model.noise.numpy())
    np.testing.assert_allclose(ours, noise_of(iteration.file(1, "model"), 3), rtol=1e-6)


def test_scales_are_the_same(iteration):
    """Over the shells with SSNR > 3; six decimals are printed."""
    sums, group = iteration.ours.sums, np.asarray(iteration.data.particles["rlnOpticsGroup"]) - 1
    cross, power = sums.scale_cross.numpy(), sums.scale_power.numpy()
    ours = update_scale(cross, power, np.ones(3), np.bincount(group))
    theirs = read_star(iteration.file(1, "model"))["model_groups"]["rlnGroupScaleCorrection"]
    assert np.ptp(theirs) > 0.3
    np.testing.assert_allclose(ours, theirs, atol=1.1e-6)
