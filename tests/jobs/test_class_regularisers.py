"""Classes under the regularisers of a refinement: an image is compared with the map of the half that it is not in."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import fsc
from blush.io.mrc import read_volume
from blush.io.star import read_star, write_star
from blush.jobs.autorefine import autorefine
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.refine.subset import Subset

N = 48


@pytest.fixture(scope="module")
def run(make_config, simulated, tmp_path_factory):
    """Two classes of 48 images at their true poses, under no prior but trailing."""
    place = tmp_path_factory.mktemp("regularised")
    blocks = read_star(simulated / "truth.star")
    blocks["particles"] = {name: column[:N] for name, column in blocks["particles"].items()}
    blocks["particles"]["rlnClassNumber"] = np.arange(N) % 2 + 1
    (place / "stacks").symlink_to(simulated / "stacks")
    write_star(place / "some.star", blocks)
    section = {"classes": 2, "start_from": "labels", "max_iterations": 2, "verify": False}
    given = {"job": "classify", "particles": place / "some.star", "regulariser": {"name": "none"}}
    return autorefine(make_config(place, classification=section, **given))


def reference(run, k, without):
    return read_volume(RunFolder(run).map(2, Subset.ALL, "reference", k, without))[0]


@pytest.mark.parametrize("k", [0, 1])
def test_images_see_the_other_half_alone(run, k):
    """Folds of a half share a reference, which the other half's folds do not."""
    assert read_plan(run).n_folds == 4
    first, second, third, fourth = (reference(run, k, fold) for fold in range(4))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(third, fourth)
    assert not np.array_equal(first, third)
    np.testing.assert_allclose(reference(run, k, None), (first + third) / 2, rtol=0, atol=1e-5 * np.abs(first).max())


@pytest.mark.parametrize("k", [0, 1])
def test_a_reference_of_no_prior_is_the_other_half_map(run, k):
    """The unregularised map of half 2 of a class and the reference of half 1 differ by mask and trailing only."""
    half2 = read_volume(RunFolder(run).class_half(2, Subset.SECOND, k))[0]
    half1 = read_volume(RunFolder(run).class_half(2, Subset.FIRST, k))[0]
    seen = reference(run, k, 0)
    agree = [fsc(*(torch.from_numpy(volume) for volume in (seen, one)))[1:3].mean() for one in (half1, half2)]
    assert agree[1] > 0.97
    assert agree[1] > agree[0]
