"""What the shipped weights must not do to a map that has almost no noise: change it."""

from itertools import islice

import pytest

from blush.config.regulariser import BlushSettings, RegulariserSettings
from blush.jobs.truth_checks import SIZES, check_maps


@pytest.mark.parametrize("name", ["blush", "localwiener"])
def test_a_map_almost_free_of_noise_stays(name, tmp_path):
    """Its voxels of 3.5 Å end in the midst of a band of the networks."""
    settings = RegulariserSettings(name=name, blush=BlushSettings(stride_px=32))
    power, change = islice(check_maps(settings, 2, SIZES["small"], tmp_path, "cpu"), 2)
    assert power.letter == change.letter == "c"
    assert [check for check in (power, change) if not check.passed] == []
