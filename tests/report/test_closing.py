"""What a run says at its end: resolution, what limits it, and whether it converged."""

import pytest

from blush.io.files import write_json
from blush.report.closing import tell_results

SUMMARY = {
    "resolution_angst": 8.7, "box_px": 64, "pixel_size_angst": 3.54, "iterations": 12, "stop_reason": "converged",
    "warnings": [], "particles": {"total": 9},
}  # fmt: skip


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")

    def tell(**changes):
        write_json(tmp_path / "summary.json", SUMMARY | changes)
        tell_results(tmp_path)
        return capsys.readouterr().out.splitlines()

    return tell


def test_a_run_that_converged_ends_with_its_page(told):
    lines = told()
    assert lines[0] == "resolution  8.70 Å, 9 particles, 12 iterations"
    assert lines[-1] == "page        report.html"


def test_a_resolution_at_the_end_of_the_pixels_says_so(told):
    limited = "resolution  7.08 Å, limited by the pixel size (Nyquist 7.08 Å), 9 particles, 12 iterations"
    assert told(resolution_angst=7.08)[0] == limited


@pytest.mark.parametrize(("changes", "section"), [({}, "refinement"), ({"job": "classify"}, "classification")])
def test_a_run_that_gave_up_says_so_in_its_last_line(told, changes, section):
    assert told(stop_reason="max_iterations", **changes)[-1] == (
        f"not converged: stopped after 12 iterations; raise {section}.max_iterations, same command again"
    )
