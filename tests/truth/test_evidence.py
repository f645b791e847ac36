"""Images of one half tell the other half's map from an artefact of it, where the FSC of the halves does not."""

import pytest
from truth_runs import RANDOMISED_ANGST

from blush.jobs.other_half import weigh_halves

pytestmark = pytest.mark.slow
MANY = 1000


def test_a_good_map_is_supported_to_its_resolution(refined):
    run = refined("good", "auto")
    record = weigh_halves(run.root, MANY)[0].record()
    assert record["verdict"] == "holds"
    assert record["told_share"] > 0.99
    assert record["supported_angst"] == pytest.approx(run.last.resolution_angst)


def test_a_map_of_noise_fails(refined):
    """Its halves agree beyond the shells that they share (`test_noise_particles.py`)."""
    run = refined("noise", "auto")
    record = weigh_halves(run.root, 40)[0].record()
    assert run.last.resolution_angst < 40
    assert record["verdict"] == "fails"
    assert record["told_share"] < 0.05


def test_nothing_is_supported_where_phases_are_random(refined):
    record = weigh_halves(refined("randomised", "auto").root, MANY)[0].record()
    assert record["supported_angst"] == pytest.approx(RANDOMISED_ANGST)
    beyond = [band for band in record["bands"] if band["to_angst"] < RANDOMISED_ANGST - 0.01]
    assert beyond
    assert all(band["verdict"] != "supported" for band in beyond)


@pytest.mark.thorough
def test_images_too_poor_for_their_poses_do_not_support_what_is_reported(refined):
    run = refined("weak", "auto")
    record = weigh_halves(run.root, MANY)[0].record()
    assert record["verdict"] == "silent"
    assert record["supported_angst"] > run.last.resolution_angst
