"""The page: complete, self-contained, valid at any time of a run."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest

from blush.errors import BlushError
from blush.report.page import page, write_report
from blush.report.run_data import read_run

NYQUIST_ANGST = 6.0
"""Of the run that the tests have: 24 px of 3 Å."""
_VOID = {"meta", "img", "br", "hr", "link", "input"}


class Outline(HTMLParser):
    """Checks nesting, and collects headings and text."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.headings, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


def unscripted(text):
    """The page without what its scripts are made of."""
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def outline(text):
    parser = Outline()
    parser.feed(text)
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def text(finished_run):
    return write_report(finished_run).read_text(encoding="utf-8")


def test_every_section_of_a_finished_run_is_there(text):
    sections = ["Map", "Resolution", "Slices and projections", "Directions", "Iterations", "Particles", "Regulariser",
                "Time", "Inputs and versions"]  # fmt: skip
    assert outline(text).headings == sections


def test_nothing_is_loaded_from_elsewhere(text):
    """Addresses are either data or fragments; scripts are in the page; no style sheets, no fonts; no leave for any."""
    assert re.findall(r"<script([^>]*)>", text) == [' type="application/json" id="map3d-scene"', "", "", ""]
    seen = unscripted(text)
    assert "<link" not in seen
    assert "@import" not in seen
    assert "default-src 'none'; img-src data:;" in seen
    addresses = re.findall(r'(?:src|href)="([^"]*)"', seen) + re.findall(r"url\(([^)]*)\)", seen)
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)


def test_resolutions_and_their_truth_stand_side_by_side(text, finished_run):
    seen = " ".join(outline(text).text)
    run = read_run(finished_run)
    reported = float(run.postprocess["general"]["rlnFinalResolution"][0])
    assert f"{reported:.2f} Å" in seen
    assert "12.3 Å" in seen
    assert "1.25°" in seen
    assert "with the truth" in text


def test_what_limits_a_resolution_and_where_the_bfactor_was_fitted_stand_beside_them(text, finished_run):
    seen, general = " ".join(outline(text).text), read_run(finished_run).postprocess["general"]
    ends = [float(general[f"blushGuinierFit{name}"][0]) for name in ("Lowest", "Highest")]
    assert f"Guinier fit from {ends[0]:.2f} Å to {ends[1]:.2f} Å" in seen
    reported = float(general["rlnFinalResolution"][0])
    assert ends[1] == pytest.approx(reported, abs=1e-4)
    is_nyquist = abs(reported - NYQUIST_ANGST) < 1e-4
    assert ("limited by the pixel size (Nyquist" in seen) == is_nyquist
    assert ("the signal ends there, not the pixels" in seen) != is_nyquist


def test_a_map_that_agrees_to_its_last_shell_is_limited_by_the_pixel_size(finished_run, tmp_path):
    run = read_run(finished_run)
    general = run.postprocess["general"] | {"rlnFinalResolution": np.array([NYQUIST_ANGST])}
    seen = " ".join(outline(page(replace(run, postprocess=run.postprocess | {"general": general}))).text)
    assert f"corrected FSC 0.143; limited by the pixel size (Nyquist {NYQUIST_ANGST:.2f} Å)" in seen
    assert "and smaller pixels may show more" in seen


def test_every_caption_of_a_figure_has_its_unit_or_says_that_it_has_none(text):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    long = [caption for caption in captions if len(caption) > 60]
    assert len(long) >= 8
    units = ("Å", "°", "no unit", "without unit", "seconds", "degrees", "0 to 1")
    assert [caption for caption in long if not any(unit in caption for unit in units)] == []


def test_a_resolution_better_than_the_truth_is_called_out(text):
    assert "is better than the true one, 12.3 Å" in " ".join(outline(text).text)


def test_the_certificate_of_each_iteration_is_told_in_words(text):
    assert text.count("<td>holds</td><td>error &lt;below&gt; Wiener&#x27;s</td>") == 2


def test_text_from_files_is_escaped(text):
    assert "Look &lt;here&gt;" in text
    assert "<here>" not in text


def test_figures_are_svg_that_parses_and_takes_its_colours_from_the_page(text):
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == 13
    for figure in figures:
        ElementTree.fromstring(figure)
        assert "var(--" in figure
        assert "viewBox" in figure
    style = text[: text.index("</style>")]
    used = set(re.findall(r"var\((--[\w-]+)\)", unscripted(text)))
    assert all(f"{name}:" in style for name in used)
    assert not re.search(r"#0[14780a]0[2589b]0[369c]", unscripted(text)), "a placeholder colour was left in a figure"


def test_names_that_figures_refer_to_are_unique_on_the_page(text):
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    seen = unscripted(text)
    assert set(re.findall(r'href="#([^"]+)"', seen)) <= set(names)
    assert set(re.findall(r"url\(#([^)]+)\)", seen)) <= set(names)


def test_the_table_shows_the_sampling_that_each_iteration_used(text):
    rows = re.findall(r"<tr>(.*?)</tr>", text[text.index("All iterations") :], re.DOTALL)
    first, last = (re.findall(r"<td>(.*?)</td>", row) for row in (rows[1], rows[3]))
    assert first[:5] == ["1", "15.0 Å", "14 px", "2, 7.5°", "global"]
    assert last[:5] == ["3 final", "7.50 Å", "20 px", "3, 3.8°", "local"]


def test_equal_runs_give_equal_pages(finished_run, text):
    assert page(read_run(finished_run)) == text


def test_a_run_that_has_just_begun_has_a_page_too(running):
    parts = outline(write_report(running).read_text(encoding="utf-8"))
    assert "Resolution so far" in " ".join(parts.text)
    assert "Iterations" in parts.headings
    assert "Map" not in parts.headings


def test_a_folder_before_its_first_state_has_a_page(tmp_path):
    (tmp_path / "import").mkdir()
    assert outline(write_report(tmp_path).read_text(encoding="utf-8")).headings == ["Inputs and versions"]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(BlushError, match="holds no refinement"):
        write_report(tmp_path)


def test_pictures_of_an_unfinished_run_come_from_its_last_reference(finished_run, running):
    from shutil import copy

    from blush.report.map_figures import best_map

    copy(finished_run / "run_class001.mrc", running / "run_it001_half1_class001.mrc")
    assert best_map(read_run(running)).name == "run_it001_half1_class001.mrc"
    assert best_map(read_run(finished_run)).name == "postprocess_masked.mrc"


def test_the_verdict_on_directions_stands_with_its_figures_and_thresholds(text, finished_run):
    seen, found = " ".join(outline(text).text), read_run(finished_run).summary["orientation"]
    verdict = found["verdict"]
    assert verdict[0].upper() + verdict[1:] in seen
    for name in ("cfar", "scf_star", "scf_star_least", "cfar_isotropic_min"):
        assert f"{found[name]:.2f}" in seen
    assert "0.5 or more (cryoSPARC's limit)" in seen
    assert "predicted from the signal-to-noise ratio" in seen.lower()
