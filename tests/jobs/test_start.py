"""Iteration 0: the first reference is filtered, and settings in pixels become ångström."""

import numpy as np
import pytest
import torch

from blush.fourier.fsc import power_spectrum
from blush.io.mrc import read_volume, write_volume
from blush.jobs import steps
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state
from blush.refine.subset import Subset


@pytest.fixture
def started(make_config, tmp_path):
    """From a reference of white noise, 32 px of 6.5 Å."""
    noise = np.random.default_rng(1).standard_normal((32, 32, 32)).astype(np.float32)
    write_volume(tmp_path / "white.mrc", noise, 6.5)
    config = make_config(tmp_path, reference=tmp_path / "white.mrc")
    steps.import_run(config)
    steps.start(config.run_dir)
    return RunFolder(config.run_dir)


def test_both_halves_start_from_the_filtered_reference(started):
    """At 40 Å, shell 5.2 of 208 Å, with an edge of two shells."""
    first, second = (read_volume(started.map(0, Subset(half), "reference"))[0] for half in (1, 2))
    assert np.array_equal(first, second)
    power = power_spectrum(torch.from_numpy(first).double())
    assert float(power[3]) > 1e-3 * float(power.max())
    assert float(power[8:].max()) < 1e-10 * float(power.max())


def test_offsets_in_pixels_are_searched_in_angstrom(started):
    """A range of 2 px and a step of 2 px."""
    state = load_state(started.state(0))
    assert (state.search.offset_range_angst, state.search.offset_step_angst) == (13.0, 13.0)
    assert state.search.first_cc


@pytest.mark.parametrize(
    ("given", "expected"), [({}, 1.0), ({"temperature": 1.5}, 1.5), ({"temperature": "auto"}, None)]
)
def test_the_temperature_of_poses_is_one_over_the_mean_square_of_the_circle(make_config, tmp_path, given, expected):
    """A circle of 170 Å with a raised-cosine edge of 5 px around it, 6.5 Å per pixel."""
    config = make_config(tmp_path, refinement={"max_iterations": 3, **given})
    steps.import_run(config)
    steps.start(config.run_dir)
    found = load_state(RunFolder(config.run_dir).state(0)).search.pose_temperature
    if expected is None:
        y, x = np.indices((32, 32)) - 16
        beyond = np.clip((np.hypot(x, y) - 85 / 6.5) / 5, 0, 1)
        expected = 1 / np.mean(((1 + np.cos(np.pi * beyond)) / 2) ** 2)
        assert expected > 1.2
    assert found == pytest.approx(expected)
