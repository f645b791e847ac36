"""What a comparison says: who is best, how sure that is, and a page that stands alone."""

import base64
import io
import json
import re
from shutil import copytree

import numpy as np
import pytest
from matplotlib.image import imread

from blush.io.mrc import read_volume, write_volume
from blush.report.comparison import _crossing
from blush.report.comparison_maps import side_by_side
from blush.report.comparison_page import page
from blush.report.comparison_table import table_rows, text_table
from blush.report.comparison_verdict import HALF_MAP_NOTE, compare, summarise, verdict
from blush.report.run_data import read_run

SHELLS = 17


def member(name, seed, true=None, half=10.0, **changes):
    """One finished run, as `collect` describes it."""
    curve = np.linspace(1, 0, SHELLS).tolist()
    shells = {
        "iteration": 4, "damping": curve, "power_ratio": curve, "fsc_in": curve,
        "fsc_out": [*curve[:-2], None, None], "trailing_shell": 9, "couples": "scalars",
    }  # fmt: skip
    found = {
        "regulariser": name, "seed": seed, "box_angst": 64.0, "iterations": 5, "stop_reason": "converged",
        "resolution_over_iterations_angst": [None, 20.0, 10.0], "reported_resolution_angst": half,
        "accuracy_rotation_deg": 1.0, "average_pmax": 0.5, "fell_back": [], "waited": [],
        "last_regularised": shells, "warnings": [], "half_fsc": curve, "half_fsc_unmasked": curve,
        "half_resolution_angst": half,
    }  # fmt: skip
    if true is not None:
        found |= {
            "true_fsc": curve, "true_resolution_angst": true if true > 0 else None, "angle_median_deg": 1.5,
            "angle_mean_deg": 2.0, "within_5_deg": 0.9, "shift_median_angst": 0.5,
        }  # fmt: skip
    return {f"{name}_seed{seed}": found | changes}


def members(**values):
    """Runs by regulariser and seed from their true resolutions."""
    found = {}
    for name, row in values.items():
        for seed, true in enumerate(row, start=1):
            found |= member(name, seed, true)
    return found


def content_of(found, failures=None):
    timing = {
        "stages": {name: {"wall": 3.0, "busy": 4.0, "cpu": 2.0} for name in ("expectation", "denoise_and_trail")},
        "wall_seconds": 6.0, "cpu_seconds": 4.0, "regulariser_seconds": 1.0, "regulariser_share": 0.125,
    }  # fmt: skip
    return {
        "name": "mine_comparison", "regularisers": list(dict.fromkeys(m["regulariser"] for m in found.values())),
        "seeds": sorted({m["seed"] for m in found.values()}), "members": found, "failures": failures or {},
        "known_truth": all("true_fsc" in m for m in found.values()) and bool(found), "summary": summarise(found),
        "verdict": verdict(found), "timing": dict.fromkeys(found, timing),
    }  # fmt: skip


def test_a_difference_beyond_the_spread_is_said_to_be_one():
    said = verdict(members(wiener=[10.0, 10.2, 9.8], nonuniform=[9.0, 9.1, 8.9]))
    assert said["order"] == ["nonuniform", "wiener"]
    assert said["sentences"][0] == (
        "Best by true resolution: nonuniform, 9.00 Å; next is wiener, 10.00 Å. "
        "The difference, 1.00 Å, exceeds the spread between 3 seeds (0.20 Å)."
    )
    assert said["sentences"][1] == (
        "nonuniform against wiener: 1.00 Å finer, beyond the spread; finer in 3 of 3 seed(s)."
    )


def test_a_difference_within_the_spread_is_not_sold_as_one():
    said = verdict(members(wiener=[10.0, 10.4, 9.6], nonuniform=[9.9, 10.3, 9.5]))
    assert (
        "does not exceed the spread between 3 seeds (0.40 Å): on these data they are equally good"
        in (said["sentences"][0])
    )
    assert not said["against_baseline"]["nonuniform"]["exceeds_spread"]


def test_one_seed_proves_nothing():
    said = verdict(members(wiener=[10.0], none=[5.5]))
    assert "With one seed nobody knows whether 4.50 Å is more than chance" in said["sentences"][0]
    assert said["against_baseline"]["none"] == {
        "better_angst": 4.5, "spread_angst": None, "seeds": 1, "seeds_better": 1, "exceeds_spread": None,
    }  # fmt: skip


def test_only_seeds_that_all_have_finished_are_compared():
    said = verdict(members(wiener=[10.0, 10.0, 4.5], none=[9.0, 9.0]))
    assert said["seeds"] == [1, 2]
    assert said["order"] == ["none", "wiener"]


def test_what_resolved_nothing_is_not_ranked():
    said = verdict(members(wiener=[10.0, 10.0], none=[-1.0, 8.0]))
    assert said["unresolved"] == ["none"]
    assert said["order"] == ["wiener"]
    assert said["sentences"] == ["Best by true resolution: wiener, 10.00 Å."]
    assert verdict(members(none=[-1.0]))["sentences"] == ["No regulariser resolved anything in every seed."]
    assert verdict({})["order"] == []


def test_without_truth_the_halves_decide_and_the_reader_is_warned():
    found = member("wiener", 1, half=10.0) | member("none", 1, half=9.0)
    said = verdict(found)
    assert said["figure"] == "half_resolution_angst"
    assert said["order"] == ["none", "wiener"]
    assert said["sentences"][-1] == HALF_MAP_NOTE
    assert "unregularised halves" in HALF_MAP_NOTE


def test_runs_that_resolve_to_the_pixels_cannot_be_told_apart():
    """Nyquist is 4 Å here, the shell before it 4.27."""
    assert "cannot tell them apart" in " ".join(verdict(members(wiener=[4.1], none=[4.0]))["sentences"])
    assert "cannot tell them apart" not in " ".join(verdict(members(wiener=[4.1], none=[4.6]))["sentences"])


def test_mean_and_spread_are_those_of_the_seeds():
    found = summarise(members(wiener=[10.0, 11.0, 12.0]))["wiener"]
    assert found["true_resolution_angst"] == {"values": [10.0, 11.0, 12.0], "mean": 11.0, "sd": 1.0}
    assert found["seeds"] == 3
    assert compare([9.0, 10.0], [10.0, 12.0])["better_angst"] == 1.5


def test_resolutions_are_read_between_shells():
    assert _crossing([1.0, 0.9, 0.7, 0.3, 0.0], 0.5, 40.0) == pytest.approx(40 / 2.5)
    assert _crossing([1.0, 0.1, 0.0, 0.0, 0.0], 0.5, 40.0) is None
    assert _crossing([1.0, 0.9, 0.9, 0.9, 0.9], 0.5, 40.0) == 10.0


def test_the_table_has_a_row_for_each_regulariser():
    content = content_of(members(wiener=[10.0, 11.0], none=[9.0, 9.5]))
    head, rows = table_rows(content)
    assert [row[:3] for row in rows] == [["wiener", "2", "10.50 ± 0.71 Å"], ["none", "2", "9.25 ± 0.35 Å"]]
    assert rows[0][-1] == "12.5 %"
    assert all(len(row) == len(head) for row in rows)
    assert "Best by true resolution: none" in text_table(content)


def test_columns_of_the_truth_need_a_truth():
    head, _ = table_rows(content_of(member("wiener", 1)))
    assert "True resolution" not in head
    assert "Half-map resolution" in head


def test_the_page_stands_alone_and_repeats_itself():
    content = content_of(members(wiener=[10.0, 11.0], none=[9.0, 9.5]))
    text = page(json.loads(json.dumps(content)))
    assert text == page(content)
    assert text.count("<svg") == 6
    assert "<script" not in text
    assert "http" not in text.replace("http://www.w3.org", "").replace("http-equiv", "")
    for section in ("Which one", "Maps", "What each did", "Time", "Runs"):
        assert f"<h2>{section}</h2>" in text
    assert 'href="wiener_seed1/report.html"' in text


def test_maps_stand_side_by_side_on_one_scale(finished_run, tmp_path):
    """Black and white are the 1st and the 99.8th percentile of all pictures of a kind."""
    strong = tmp_path / "strong"
    copytree(finished_run, strong)
    path = strong / "postprocess/postprocess_masked.mrc"
    volume, pixel = read_volume(path)
    write_volume(path, 2 * volume, pixel)
    runs = {"wiener": read_run(finished_run), "<strong>": read_run(strong)}
    html = side_by_side(runs)
    assert "<h3>wiener</h3>" in html
    assert "<h3>&lt;strong&gt;</h3>" in html
    images = [imread(io.BytesIO(base64.b64decode(data)))[..., 0] for data in re.findall(r"base64,([^\"]+)", html)]
    assert len(images) == 12
    weak, twice = images[0], images[6]
    cut = volume[len(volume) // 2]
    black, white = np.quantile(np.concatenate([cut, 2 * cut]), [0.01, 0.998])
    assert twice.max() == 1
    assert weak.max() == pytest.approx((cut.max() - black) / (white - black), abs=0.005)
    text = page(content_of(members(wiener=[10.0], none=[9.0])), html)
    assert text.index("<h3>wiener</h3>") < text.index("Sharpened, masked maps of seed 1")


def test_what_went_wrong_stands_at_the_top():
    found = member("wiener", 1, 10.0, warnings=["<poses> had not settled"], stop_reason="max_iterations")
    found |= member("red", 1, 9.0, fell_back=[3, 4], warnings=["<poses> had not settled"])
    text = page(content_of(found, {"cref_seed1": "cref_seed1: too small"}))
    top = text[: text.index("<h2>")]
    assert "all runs: &lt;poses&gt; had not settled" in top
    assert "red_seed1: Wiener took the regulariser" in top
    assert "wiener_seed1: the largest number of iterations was reached" in top
    assert "cref_seed1 did not finish" in top


def test_more_regularisers_than_colours_can_still_be_told_apart():
    from blush.report.comparison_figures import look

    content = content_of(members(**{f"method{n}": [10.0 + n] for n in range(9)}))
    assert len({look(content, name) for name in content["regularisers"]}) == 9
    assert "method8" in page(content)


def test_a_comparison_of_which_nothing_finished_has_a_page():
    text = page(content_of({}, {"wiener_seed1": "wiener_seed1: no workers"}))
    assert "no workers" in text
    assert "<svg" not in text


def test_waiting_for_local_searches_leaves_no_curve_of_what_it_did():
    found = member("red", 1, 9.0, last_regularised={})
    text = page(content_of(found))
    assert text.count("<svg") == 5
