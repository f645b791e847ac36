"""Each half of filaments told by the map of the other, and by nothing of its own."""

import numpy as np
import pytest
import torch
from filament_runs import TRUE, config_of
from numpy.testing import assert_allclose, assert_array_equal

from blush.errors import BlushError
from blush.jobs import steps
from blush.jobs.autorefine import autorefine
from blush.jobs.held_out import HeldOut


def quiet(*_):
    pass


def test_each_half_is_told_by_the_map_of_the_other(still_run):
    """An empty map tells nothing: the log of the prior's sum, 0; and it does so to the other half alone."""
    held = HeldOut.of(still_run)
    references = held.own_references()
    both = held.log_gain(references, quiet)
    one = held.log_gain([torch.zeros_like(references[0]), references[1]], quiet)
    first, second = held.rows
    assert_array_equal(one[first], both[first])
    assert both[second].min() > 1
    assert_allclose(one[second], 0, atol=0.05)


def test_segments_are_placed_against_the_map_of_their_own_half(still_run):
    held = HeldOut.of(still_run)
    first, second = held.own_references()
    both, other = held.sums([first, second], quiet), held.sums([first, first], quiet)
    assert_array_equal(both[0].grid.numpy(), other[0].grid.numpy())
    assert not np.array_equal(both[1].grid.numpy(), other[1].grid.numpy())


def test_runs_are_compared_up_to_one_shell(still_run):
    """Fewer shells tell less of the images, in maps and in what they are compared with."""
    whole, less = HeldOut.of(still_run), HeldOut.of(still_run)
    less.compare_up_to(4)
    assert (whole.radius, less.radius) == (16, 4)
    references = whole.own_references()
    assert less.sums(references, quiet)[0].r_max == 4
    assert less.log_gain(references, quiet).mean() < 0.9 * whole.log_gain(references, quiet).mean()


def test_all_rots_are_alike_before_a_segment_is_seen(still_run):
    """What the chains of the run believe was found with its symmetry."""
    for particles in HeldOut.of(still_run).particles:
        assert np.ptp(particles.rot_log_prior, axis=2).max() == 0


def test_sums_have_no_rotation_of_the_run(still_filaments, tmp_path):
    """Orientations of all the sphere, as a map without symmetry needs them."""
    held = HeldOut.of(
        autorefine(config_of(still_filaments, tmp_path, helix=TRUE, symmetry="C2", refinement={"max_iterations": 1}))
    )
    assert held.helix.fold == 2
    assert held.models[0].component.n_directions == 12 * 4**held.state.search.healpix_order


def test_maps_of_a_half_are_of_its_own_images(still_run):
    """With the other half's sums replaced by noise and the spectrum kept, the reference of a half keeps every bit."""
    held = HeldOut.of(still_run)
    first, second = held.sums(held.own_references(), quiet)
    kept, fsc = held.references((first, second), held.helix)
    other = held.references((first, first), held.helix)[1]
    assert not np.array_equal(fsc, other)  # the spectrum is what the halves share, and all that they do
    again = HeldOut.of(still_run)
    again._fsc = lambda *_: fsc
    found, _ = again.references((first, first), again.helix)
    assert_array_equal(found[0].numpy(), kept[0].numpy())
    assert not np.array_equal(found[1].numpy(), kept[1].numpy())


def test_a_run_that_has_not_ended_is_refused(still_filaments, tmp_path):
    config = config_of(still_filaments, tmp_path, helix=TRUE)
    steps.import_run(config)
    steps.start(config.run_dir.absolute())
    with pytest.raises(BlushError, match="no finished refinement of filaments"):
        HeldOut.of(config.run_dir)
