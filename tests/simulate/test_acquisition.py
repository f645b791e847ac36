"""Views, offsets and defocus that are drawn."""

import numpy as np
import pytest
import torch

from blush.simulate.acquisition import draw_acquisition, view_directions
from blush.simulate.settings import Imaging, Optics, SimulateConfig, Views


def settings(n_particles: int, **imaging) -> SimulateConfig:
    imaging = Imaging(n_particles=n_particles, particles_per_micrograph=20, **imaging)
    return SimulateConfig(imaging=imaging, seed=5)


def test_a_smaller_set_is_the_beginning_of_a_larger_one():
    large, small = draw_acquisition(settings(60)), draw_acquisition(settings(33))
    assert len(small) == 33
    for name in ("euler_deg", "origin_angst", "defocus_angst", "defocus_angle_deg", "micrograph", "optics"):
        assert torch.equal(getattr(small, name), getattr(large, name)[:33])


def test_micrographs_are_dealt_to_optics_groups_and_differ():
    seen = draw_acquisition(settings(80, optics=(Optics(), Optics(voltage_kv=200)), defocus_sd_angst=0))
    assert seen.optics[::20].tolist() == [0, 1, 0, 1]
    assert len(seen.defocus_angst[:, 0].unique()) == 4
    assert (seen.defocus_angst[:, 0] >= seen.defocus_angst[:, 1]).all()


def test_offsets_have_the_spread_asked_for():
    seen = draw_acquisition(settings(2000, offset_sd_angst=3))
    spread = seen.origin_angst.std(0)
    assert ((spread - 3).abs() < 4 * 3 / (2 * 2000) ** 0.5).all()  # four standard errors


def test_uniform_views_have_no_direction_and_no_axis():
    views = view_directions(Views(), 4000, np.random.default_rng(1))
    np.testing.assert_allclose(np.linalg.norm(views, axis=1), 1, atol=1e-12)
    assert np.abs(views.mean(0)).max() < 4 / (3 * 4000) ** 0.5
    # var(x^2) = 4/45 on the sphere
    assert np.abs(views.T @ views / 4000 - np.eye(3) / 3).max() < 4 * (4 / 45 / 4000) ** 0.5


@pytest.mark.parametrize("concentration", [2.0, 40.0])
def test_preferred_views_gather_as_von_mises_and_fisher_say(concentration):
    """The mean component along the axis is coth κ - 1/κ."""
    axis = np.array([1.0, -2.0, 0.5])
    chosen = Views(preferred_axes=(tuple(axis),), preferred_fraction=1, concentration=concentration)
    along = view_directions(chosen, 4000, np.random.default_rng(2)) @ (axis / np.linalg.norm(axis))
    expected = 1 / np.tanh(concentration) - 1 / concentration
    assert abs(along.mean() - expected) < 4 * along.std() / 4000**0.5


def test_preferred_fraction_mixes_with_uniform_views():
    chosen = Views(preferred_axes=((0, 0, 1), (1, 0, 0)), preferred_fraction=0.5, concentration=200)
    views = view_directions(chosen, 4000, np.random.default_rng(3))
    near = (views[:, 2] > 0.95).mean()
    assert abs(near - (0.25 + 0.5 * 0.025)) < 4 * (0.26 * 0.74 / 4000) ** 0.5
