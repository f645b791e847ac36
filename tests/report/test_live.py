"""The page of a run at work: as often as it costs little, told where it fails, and read again by browsers."""

import json

import pytest

from blush.jobs.layout import RunFolder
from blush.jobs.progress import read_progress
from blush.report.live import is_due, write_live
from blush.report.page import write_report


def log(*pages, start=1000.0):
    begun = {"time": start, "stage": "start", "iteration": 0}
    return [begun, *({"time": time, "stage": "page", "seconds": seconds} for time, seconds in pages)]


@pytest.mark.parametrize(
    ("pages", "now", "due"),
    [
        ([], 1099, False),  # the first is expected to take 5 s, a twentieth of 100
        ([], 1101, True),
        ([(1101, 2.0)], 1079, False),  # 2 s and 2 more are a twentieth of 80
        ([(1101, 2.0)], 1081, True),
        ([(1101, 2.0), (1200, 8.0)], 1359, False),  # 10 and 8 more, of 360
        ([(1101, 2.0), (1200, 8.0)], 1361, True),
    ],
)
def test_pages_take_a_twentieth_of_the_time_at_most(pages, now, due):
    assert is_due(log(*pages), now) is due


def test_nothing_is_due_before_anything_was_done():
    assert not is_due([], 1e9)


def test_a_page_is_written_and_its_time_noted(running):
    begun = {"time": 1000.0, "stage": "converge", "iteration": 1, "seconds": 1.0}  # long ago: a page is due
    RunFolder(running).progress.write_text(json.dumps(begun) + "\n")
    write_live(running)
    assert "At work: 1 iteration done." in (running / "report.html").read_text()
    (page,) = [record for record in read_progress(RunFolder(running).progress) if record["stage"] == "page"]
    assert page["iteration"] == 1
    assert page["cpu_seconds"] > 0
    assert 0 < page["seconds"] < 60


def test_a_page_that_fails_is_told_and_ends_nothing(running, capsys):
    begun = {"time": 1000.0, "stage": "converge", "iteration": 1, "seconds": 1.0}  # long ago: a page is due
    RunFolder(running).progress.write_text(json.dumps(begun) + "\n")
    (running / "it001/state.json").write_text(json.dumps({}))
    write_live(running)
    assert "warning: the page was not written" in capsys.readouterr().err
    assert not (running / "report.html").exists()


def test_only_pages_of_runs_at_work_reload(running):
    assert "location.reload" in write_report(running, goes_on=True).read_text()
    assert "location.reload" not in write_report(running).read_text()


def test_a_browser_reads_the_page_again_unless_it_is_used(browser, running):
    path = write_report(running, goes_on=True)
    fast = path.read_text().replace("}, 30000)", "}, 300)")
    assert fast != path.read_text()
    path.write_text(fast)
    browser.show(path, 900)
    path.write_text(fast.replace("At work: 1 iteration", "At work: 2 iteration"))
    browser.wait("document.body !== null && document.body.textContent.includes('At work: 2 iteration')")
    browser.value("dispatchEvent(new Event('keydown'))")
    path.write_text(fast)
    browser.pause(1.0)
    assert browser.value("document.body.textContent.includes('At work: 2 iteration')")
    assert browser.complaints() == []
