"""What is made of the half-maps in the end is the same by a run and by hand, and says what limits it."""

import pytest

from blush.fourier.limits import limited_by
from blush.io.files import read_json
from blush.io.mrc import read_volume
from blush.jobs import steps
from blush.jobs.inputs import read_config
from blush.validate.postprocess_files import MaskSource, postprocess_files


def test_a_run_and_a_postprocess_by_hand_have_one_resolution_and_one_bfactor(run, tmp_path):
    summary = read_json(steps.postprocess(run))
    config = read_config(run)
    halves = [run / f"run_half{half}_class001_unfil.mrc" for half in (1, 2)]
    mask = MaskSource(particle_diameter_angst=config.particle_diameter_angst)
    by_hand = postprocess_files(tmp_path / "by_hand", *halves, mask, config.seed)
    assert by_hand.bfactor_angst2 == summary["bfactor_angst2"]
    assert by_hand.resolution_angst == pytest.approx(summary["resolution_angst"])
    fitted = None if by_hand.fit is None else [by_hand.fit.lowest_angst, by_hand.fit.highest_angst]
    assert summary["bfactor_fit_angst"] == fitted
    for name in ("postprocess.mrc", "mask.mrc"):
        assert (read_volume(run / "postprocess" / name)[0] == read_volume(tmp_path / "by_hand" / name)[0]).all()
    assert summary["limited_by"] == limited_by(summary["resolution_angst"], 32, 6.5)
    assert summary["nyquist_angst"] == pytest.approx(13.0)
