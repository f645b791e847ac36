"""One small honesty test of each kind that runs with every `make test`: truth, random phases, and noise.

Shells count a box of 168 Å: 21 Å is shell 8. The slow tests beside refine from a grid, with every kind of mask.
"""

import numpy as np
import pytest
import torch
from truth_runs import (
    RANDOMISED_ANGST,
    chance,
    expected_from_halves,
    make_set,
    refine,
    replace_by_noise,
    shell_of,
)

from blush.fourier.fsc import fsc
from blush.io.mrc import read_volume
from blush.validate.randomise_particles import randomise_particles

FROM_TRUE_POSES = {
    "mask": "sphere",
    "sampling": {"offset_range_px": 1, "offset_step_px": 1, "offset_sigma_angst": 3},
    "refinement": {"max_iterations": 2, "start_from": "poses", "reference_is_greyscale": True},
}
FROM_A_GRID = {
    "mask": "sphere",
    "sampling": {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 2},
    "refinement": {"max_iterations": 3},
}


@pytest.fixture(scope="module")
def posed_set(tmp_path_factory):
    """100 particles whose table holds their true poses."""
    return make_set(tmp_path_factory.mktemp("posed"), particles=100)


def test_the_truth_is_found_as_well_as_the_half_maps_say(posed_set, tmp_path):
    run = refine(posed_set / "truth.star", posed_set, tmp_path, **FROM_TRUE_POSES)
    truth = run.summary["truth"]
    assert truth["poses"]["angle_median_deg"] < 3  # the fine step is 1.9
    assert shell_of(truth["resolution_angst"]) >= 13
    assert abs(shell_of(run.summary["resolution_angst"]) - shell_of(truth["resolution_angst"])) <= 1
    shells = np.arange(3, 14)
    predicted, true = expected_from_halves(run.half_fsc), run.against(run.true_map)
    np.testing.assert_allclose(predicted[shells], true[shells], atol=0.06)
    assert np.mean(predicted[shells] - true[shells]) < 0.02


def test_random_phases_are_not_resolved(posed_set, tmp_path):
    """True poses, so that the signal is found to the shell where it ends, and noise beyond could be aligned."""
    star = randomise_particles(posed_set / "truth.star", tmp_path / "randomised", RANDOMISED_ANGST, seed=7)
    run = refine(star, posed_set, tmp_path, **FROM_TRUE_POSES)
    assert 7 <= shell_of(run.summary["resolution_angst"]) <= 9
    assert shell_of(run.summary["unmasked_resolution_angst"]) <= 9
    beyond = np.arange(11, 17)
    for curve in (run.half_fsc, run.against(run.true_map)):
        assert np.all(np.abs(curve[beyond]) < 4 * chance(beyond)), curve
    assert np.all(run.postprocessed("corrected")[beyond] < 0.143 + 4 * chance(beyond))


def test_noise_resolves_nothing_and_is_doubted(tmp_path):
    """Beyond what the halves share, low resolutions and the mask's edge, they agree in nothing, nor with the truth."""
    folder = make_set(tmp_path / "noise", particles=80)
    replace_by_noise(folder)
    run = refine(folder / "particles.star", folder, tmp_path, **FROM_A_GRID)
    said = " ".join(run.summary["warnings"])
    assert "never became finer than the first grid" in said
    assert "poses had not settled" in said
    assert shell_of(run.summary["resolution_angst"]) < 11
    beyond = np.arange(12, 17)
    assert np.all(np.abs(run.half_fsc[beyond]) < 4 * chance(beyond))
    assert np.all(np.abs(run.against(run.true_map)[beyond]) < 4 * chance(beyond))
    initial = torch.from_numpy(read_volume(run.root / "run_it000_half1_class001.mrc")[0])
    assert fsc(initial, run.true_map)[4] > 0.7  # it was started from something like the truth
