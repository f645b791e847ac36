"""A classification that searches poses: with one map first, whose halves share nothing, then with those of classes."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import fsc
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.jobs.autorefine import autorefine
from blush.jobs.class_maps import class_sums
from blush.jobs.layout import RunFolder
from blush.maximization.reconstruct import reconstruct
from blush.refine.state import load_state
from blush.refine.subset import Subset

POSES = 3


@pytest.fixture(scope="module")
def run(make_config, simulated, tmp_path_factory):
    """Poses are found in three iterations, which are too few to settle; then two classes."""
    section = {"classes": 2, "search": "local", "max_iterations": 2, "verify": False}
    given = {"job": "classify", "particles": simulated / "truth.star", "classification": section}
    refinement = {"max_iterations": POSES, "keep_iterations": 9, "reference_is_greyscale": True}
    return autorefine(make_config(tmp_path_factory.mktemp("poses"), refinement=refinement, **given))


def reference(run, n, without) -> np.ndarray:
    return read_volume(RunFolder(run).map(n, Subset.ALL, "reference", 0, without))[0]


def test_one_map_is_searched_with_and_then_becomes_two(run):
    states = [load_state(RunFolder(run).state(n)) for n in range(POSES + 2)]
    assert [len(state.references.share) for state in states] == [1, 1, 1, 2, 2]
    assert [state.search.fixed for state in states] == [False, False, False, True, True]
    assert all(one is not None for one in states[2].references.accuracy_rotation_deg)
    assert states[-1].stop_reason == "max_iterations"


def test_images_keep_the_poses_that_were_found(run):
    found, last = (load_npz(RunFolder(run).poses(n)) for n in (POSES, POSES + 1))
    for name in ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst"):
        np.testing.assert_allclose(last[name], found[name], atol=1e-6)
    assert not np.allclose(found["rot_deg"], load_npz(RunFolder(run).poses(0))["rot_deg"])


def test_poses_of_a_half_are_found_with_its_own_map(run):
    first, second, third, fourth = (reference(run, 1, fold) for fold in range(4))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(third, fourth)
    assert not np.array_equal(first, third)
    folder = RunFolder(run)
    sums = class_sums(folder, load_state(folder.state(0)), torch.device("cpu"), None)
    own, other = (reconstruct(sums.of(0, sums.half(half))) for half in (0, 1))
    agree = [fsc(torch.from_numpy(first), one)[2:6].mean() for one in (own, other)]
    assert agree[0] > agree[1]
