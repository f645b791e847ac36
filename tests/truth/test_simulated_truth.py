"""Simulated particles: the reported resolution is the true one, or it is doubted."""

import numpy as np
import pytest
from truth_runs import expected_from_halves, shell_of

MASKS = ("auto", pytest.param("sphere", marks=pytest.mark.thorough))
COMPLETE = np.arange(2, 15)
"""Shells whose signal is complete; the simulation ends at radius 15, inside shell 15."""
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mask", MASKS)
def test_the_reported_resolution_is_the_true_one(refined, mask):
    """Both are shells of a discrete curve: one shell apart is the nearest that can differ."""
    summary = refined("good", mask).summary
    assert abs(shell_of(summary["resolution_angst"]) - shell_of(summary["truth"]["resolution_angst"])) <= 1
    unmasked = shell_of(summary["unmasked_resolution_angst"])
    assert abs(unmasked - shell_of(summary["truth"]["unmasked_resolution_angst"])) <= 1
    assert shell_of(summary["truth"]["resolution_angst"]) >= 14


@pytest.mark.parametrize("mask", MASKS)
def test_half_maps_predict_the_correlation_with_the_truth(refined, mask):
    """sqrt(2F / (1 + F)) of Rosenthal & Henderson, shell by shell and not only where it crosses a threshold."""
    run = refined("good", mask)
    predicted, true = expected_from_halves(run.half_fsc), run.against(run.true_map)
    np.testing.assert_allclose(predicted[COMPLETE], true[COMPLETE], atol=0.04)
    assert np.mean(predicted[COMPLETE] - true[COMPLETE]) < 0.01


@pytest.mark.parametrize("mask", MASKS)
def test_poses_are_found_and_the_result_is_not_doubted(refined, mask):
    summary = refined("good", mask).summary
    assert summary["truth"]["poses"]["angle_median_deg"] < 2
    assert not any("poses" in text or "half-maps" in text for text in summary["warnings"])


def test_particles_too_weak_to_align_are_doubted(refined):
    """Half-maps of wrong poses agree further than the map agrees with the truth; the poses tell."""
    run = refined("weak", "auto")
    assert run.summary["truth"]["poses"]["angle_median_deg"] > 30
    assert shell_of(run.summary["resolution_angst"]) <= shell_of(run.summary["truth"]["resolution_angst"]) + 4
    said = " ".join(run.summary["warnings"])
    assert "never became finer than the first grid" in said
    assert "poses had not settled" in said
