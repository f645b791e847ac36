"""Each half of filaments told by the map of the other, and by nothing of its own."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_filaments import config_of, simulated

from blush.errors import BlushError
from blush.jobs import steps
from blush.jobs.autorefine import autorefine
from blush.jobs.held_out import HeldOut


@pytest.fixture(scope="module")
def filaments(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("filaments"))


@pytest.fixture(scope="module")
def run(filaments, tmp_path_factory):
    return autorefine(config_of(filaments, tmp_path_factory.mktemp("run")))


def quiet(*_):
    pass


def test_each_half_is_told_by_the_map_of_the_other(run):
    """An empty map tells nothing: the log of the prior's sum, 0; and it does so to the other half alone."""
    held = HeldOut.of(run)
    references = held.own_references()
    both = held.log_gain(references, quiet)
    one = held.log_gain([torch.zeros_like(references[0]), references[1]], quiet)
    first, second = held.rows
    assert_array_equal(one[first], both[first])
    assert both[second].min() > 1
    assert_allclose(one[second], 0, atol=0.05)


def test_segments_are_placed_against_the_map_of_their_own_half(run):
    held = HeldOut.of(run)
    first, second = held.own_references()
    both, other = held.sums([first, second], quiet), held.sums([first, first], quiet)
    assert_array_equal(both[0].grid.numpy(), other[0].grid.numpy())
    assert not np.array_equal(both[1].grid.numpy(), other[1].grid.numpy())


def test_all_rots_are_alike_before_a_segment_is_seen(run):
    """What the chains of the run believe was found with its symmetry."""
    for particles in HeldOut.of(run).particles:
        assert np.ptp(particles.rot_log_prior, axis=2).max() == 0


def test_sums_have_no_rotation_of_the_run(filaments, tmp_path):
    """Orientations of all the sphere, as a map without symmetry needs them."""
    held = HeldOut.of(autorefine(config_of(filaments, tmp_path, symmetry="C2", refinement={"max_iterations": 1})))
    assert held.helix.fold == 2
    assert held.models[0].component.n_directions == 12 * 4**held.state.search.healpix_order


def test_maps_of_a_half_are_of_its_own_images(run):
    """With the other half's sums replaced by noise and the spectrum kept, the reference of a half keeps every bit."""
    held = HeldOut.of(run)
    first, second = held.sums(held.own_references(), quiet)
    kept, fsc = held.references((first, second), held.helix)
    other = held.references((first, first), held.helix)[1]
    assert not np.array_equal(fsc, other)  # the spectrum is what the halves share, and all that they do
    again = HeldOut.of(run)
    again._fsc = lambda *_: fsc
    found, _ = again.references((first, first), again.helix)
    assert_array_equal(found[0].numpy(), kept[0].numpy())
    assert not np.array_equal(found[1].numpy(), kept[1].numpy())


def test_a_run_that_has_not_ended_is_refused(filaments, tmp_path):
    config = config_of(filaments, tmp_path)
    steps.import_run(config)
    steps.start(config.run_dir.absolute())
    with pytest.raises(BlushError, match="no finished refinement of filaments"):
        HeldOut.of(config.run_dir)
