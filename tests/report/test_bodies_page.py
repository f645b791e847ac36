"""The page of a run of several bodies, of one that was made."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "jobs"))

from moving_blobs import config_of, make_set

from blush.jobs.autorefine import autorefine
from blush.jobs.multibody import next_body
from blush.report.bodies_data import read_bodies_of
from blush.report.closing import tell_results
from blush.report.job_list import row_of
from blush.report.page import write_report
from blush.report.watch import status_line
from blush.report.watch_bodies import RunWatcher


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of a run of two bodies, and what was seen of it after its first turns."""
    folder = tmp_path_factory.mktemp("moving")
    make_set(folder / "set")
    config, seen = config_of(folder / "set", folder, refinement={"max_iterations": 2}), []

    def look(run):
        if len(seen) < 3:
            watcher = RunWatcher(run)
            status = watcher.look(0.0)
            page = write_report(run, goes_on=True).read_text(encoding="utf-8")
            seen.append((status, watcher.new_lines(), row_of(run, 0.0), page, next_body(run)))

    return autorefine(config, look), seen


def test_a_run_at_work_tells_whose_turn_it_was_and_what_each_body_resolves(made):
    _, seen = made
    status, lines, row, page, due = seen[0]
    assert (status.body, status.finished, status.refined) == ("base", False, False)
    assert [line.split()[:3] for line in lines] == [["base", "it", "001"]]
    assert status_line(status).startswith("base it 002 waiting")
    assert (row.job, row.iteration) == ("multibody", "1, 0")
    assert row.resolution.startswith("base ")
    assert "arm" not in row.resolution
    assert "At work; iterations done: base 1, arm 0." in page
    assert '<p class="verdict">So far: base ' in page
    assert due[0].name == "body002"
    _, lines, row, _, _ = seen[1]
    assert [line.split()[:3] for line in lines] == [["base", "it", "001"], ["arm", "it", "001"]]
    assert row.iteration == "1, 1"


def test_a_finished_run_tells_of_every_body(made, capsys):
    run, _ = made
    watcher = RunWatcher(run)
    assert watcher.look(0.0).finished
    assert [line.split()[0] for line in watcher.new_lines()] == ["base", "arm", "base", "arm"]
    assert watcher.new_lines() == []
    tell_results(run)
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in told if line.startswith("body")] == [["body", "base:"], ["body", "arm:"]]
    assert [line.split()[-1].rsplit("/", 1)[-1] for line in told if line.endswith("mrc")] == [
        "run_body001.mrc",
        "run_body002.mrc",
    ]


@pytest.mark.slow
def test_the_page_begins_with_what_was_found_and_leads_to_each_body(made):
    run, _ = made
    for body, name in (("body001", "base"), ("body002", "arm")):
        assert f"<h1>{name}, a body of moving</h1>" in write_report(run / body).read_text(encoding="utf-8")
    text = write_report(run).read_text(encoding="utf-8")
    assert text.index('class="verdict"') < text.index('class="tiles"') < text.index("<h2>Bodies</h2>")
    for body, name in (("body001", "base"), ("body002", "arm")):
        assert f'<a href="{body}/report.html">{name}</a>' in text
        assert f"<h3>{name}</h3>" in text
    assert '"colours": ["#4e79c4", "#e08a2e"]' in text
    for title in ("Map", "Fourier shell correlation", "Iterations", "Slices and projections", "Time"):
        assert f"<h2>{title}</h2>" in text
    assert "<code>blush motions" in text


def test_widths_and_images_near_the_end_are_those_of_the_covariance(made):
    """Of images that moved thrice as far as expected nearly all lie beyond 99 % of the prior; unmoved ones do not."""
    run, _ = made
    arm = read_bodies_of(run)[1]
    degrees, angst = arm.widths[0]
    np.testing.assert_allclose(degrees, 12.0, rtol=1e-6)
    np.testing.assert_allclose(angst, 3.0, rtol=1e-6)
    assert len(arm.widths) == 3
    still = np.zeros_like(arm.run.poses["motion_mean"])
    far = still + 10 * np.concatenate([np.deg2rad(arm.widths[1][0][[0, 0, 0]]), arm.widths[1][1][[0, 0]]])
    for moved, share in ((still, 0.0), (far, 1.0)):
        arm.run.poses["motion_mean"] = moved
        arm.__dict__.pop("share_at_the_end", None)
        assert arm.share_at_the_end == share
