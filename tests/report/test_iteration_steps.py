"""The slider over the iterations: what it shows of each, and that a browser chooses."""

import re

from blush.jobs.layout import RunFolder
from blush.report.iteration_steps import steps
from blush.report.page import write_report
from blush.report.run_data import read_run


def test_every_iteration_has_its_slices_and_its_sampling(finished_run):
    html = steps(read_run(finished_run))
    assert re.findall(r'data-step="(\d)"( hidden)?>', html) == [("1", " hidden"), ("2", " hidden"), ("3", "")]
    assert html.count('alt="slice ') == 9
    assert "Iteration 1: 15.0 Å; global search, step 7.5°, images of 14 px; P max 0.20" in html
    assert "Iteration 3, both halves joined: 7.50 Å; local search, step 3.8°" in html
    assert 'max="3" step="1" value="3"' in html


def test_iterations_that_kept_no_slices_have_words(running):
    assert not RunFolder(running).spectra(1).exists()
    html = steps(read_run(running))
    assert "Iteration 1: 15.0 Å" in html
    assert "<img" not in html


def test_a_browser_shows_the_iteration_that_is_chosen(browser, finished_run):
    browser.show(write_report(finished_run), 900)
    seen = "[...document.querySelectorAll('[data-step]')].filter((e) => !e.hidden).map((e) => e.dataset.step).join()"
    assert browser.value(seen) == "3"
    browser.value("{ const s = document.getElementById('iteration-chosen'); s.value = 1;"
                  "s.dispatchEvent(new Event('input')); }")  # fmt: skip
    assert browser.value(seen) == "1"
    width = "Number(getComputedStyle(document.querySelector('#fsc-of-{} path')).strokeWidth.replace('px', ''))"
    assert browser.value(width.format(1)) > 2.5
    assert browser.value(width.format(2)) < 2
    assert browser.value("document.querySelector('tr.chosen td').textContent") == "1"
    assert browser.complaints() == []
