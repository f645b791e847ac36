"""Resolutions that are marked on curves are those of the rule: the last shell before the first fall."""

import re

import numpy as np
import pytest

from blush.report.fsc_figures import final_fsc
from blush.report.run_data import read_run


def legend(drawn):
    return [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", drawn) if ":" in text]


def test_every_curve_bears_its_resolution(finished_run):
    run = read_run(finished_run)
    run.truth["fsc"] = [1.0] * 7 + [0.4] * 6  # above 0.5 to shell 6 of 72 Å
    table = run.postprocess["fsc"]
    seen = " | ".join(legend(final_fsc(run)))
    assert f"corrected: {float(run.postprocess['general']['rlnFinalResolution'][0]):.2f} Å" in seen
    unmasked = np.asarray(table["rlnFourierShellCorrelationUnmaskedMaps"], dtype=float)
    first = next(s for s in range(1, len(unmasked)) if unmasked[s] < 1 / 7)
    assert f"unmasked: {72 / (first - 1):.2f} Å" in seen
    assert "with the truth: 12.00 Å" in seen


@pytest.mark.parametrize(("curve", "told"), [([1.0] * 13, "6.00 Å or better"), ([1.0] + [0.0] * 12, "not resolved")])
def test_curves_without_a_fall_or_without_signal_say_so(finished_run, curve, told):
    run = read_run(finished_run)
    run.postprocess["fsc"]["rlnFourierShellCorrelationCorrected"] = np.array(curve)
    assert f"corrected: {told}" in " | ".join(legend(final_fsc(run)))
