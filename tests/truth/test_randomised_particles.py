"""Particles without signal beyond 21 Å: alignment and masks must not make any of their noise."""

import numpy as np
import pytest
from truth_runs import chance, shell_of

LAST = 8
"""Shell of 21 Å."""
BEYOND = np.arange(LAST + 3, 17)
"""Shells out of reach of what masks and interpolation carry over the border."""
MASKS = ("auto", *(pytest.param(one, marks=pytest.mark.thorough) for one in ("sphere", "file")))
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("mask", MASKS)
def test_no_resolution_is_reported_that_is_not_there(refined, mask):
    run = refined("randomised", mask)
    assert shell_of(run.summary["resolution_angst"]) <= LAST + 1
    assert shell_of(run.summary["unmasked_resolution_angst"]) <= LAST + 1
    # The iterations' own curve keeps the uncorrected masked FSC for two shells: it may look one further.
    assert shell_of(min(state.resolution_angst for state in run.states[3:])) <= LAST + 2


@pytest.mark.parametrize("mask", MASKS)
def test_what_is_there_is_reported(refined, mask):
    run = refined("randomised", mask)
    assert shell_of(run.summary["resolution_angst"]) >= LAST - 1
    assert shell_of(run.summary["truth"]["resolution_angst"]) >= LAST - 1


@pytest.mark.parametrize("mask", MASKS)
def test_half_maps_and_truth_have_nothing_in_common_beyond(refined, mask):
    """Every shell within four standard deviations of chance, and their mean within three of its own."""
    run = refined("randomised", mask)
    sigma = chance(BEYOND)
    for curve in (run.half_fsc, run.against(run.true_map)):
        assert np.all(np.abs(curve[BEYOND]) < 4 * sigma), curve
        assert abs(np.mean(curve[BEYOND] / sigma)) < 3 / np.sqrt(len(BEYOND)), curve


@pytest.mark.parametrize("mask", MASKS)
def test_the_corrected_fsc_claims_nothing_beyond(refined, mask):
    """Masks correlate neighbouring coefficients, so that fewer are independent: up to half of the mask's share."""
    run = refined("randomised", mask)
    assert np.all(run.postprocessed("corrected")[BEYOND] < 0.143 + 4 * chance(BEYOND))
    assert run.postprocessed("corrected")[BEYOND].mean() < 0.05
