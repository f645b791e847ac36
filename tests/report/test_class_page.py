"""The page of a classification: verdict first, figures that are those of the files, warnings where they are due."""

import re
from shutil import copytree
from xml.etree import ElementTree

import numpy as np
import pytest
from class_run_files import (
    BOX,
    LABELS,
    LAST,
    PIXEL,
    ball,
    write_class_import,
    write_class_iterations,
    write_class_results,
)
from test_page import outline

from blush.io.files import write_json
from blush.io.mrc import read_volume, write_volume
from blush.report.class_data import read_classes
from blush.report.class_maps import class_pictures, surface
from blush.report.class_tables import class_table, fsc_resolution_angst
from blush.report.page import write_report
from blush.report.run_data import read_run


@pytest.fixture(scope="module")
def classified(tmp_path_factory):
    root = tmp_path_factory.mktemp("results") / "mixed"
    write_class_import(root)
    write_class_iterations(root)
    write_class_results(root, {"verdict": "Three classes are <supported>.", "verified": {"auc": 0.5}})
    return root


@pytest.fixture(scope="module")
def text(classified):
    return write_report(classified).read_text(encoding="utf-8")


@pytest.fixture
def changed(classified, tmp_path):
    """A copy, to be changed."""
    copytree(classified.parent, tmp_path / "results")
    return tmp_path / "results/mixed"


def read(root):
    return read_classes(read_run(root))


def rows_of(text, heading):
    """Cells of the first table of a section."""
    part = text[text.index(f"<h2>{heading}</h2>") :]
    table = part[part.index("<table") : part.index("</table>")]
    return [re.findall(r"<t[hd]>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", table, re.DOTALL)]


def test_the_verdict_is_the_first_line_and_the_sections_follow(text):
    parts = outline(text)
    said = [line.strip() for line in parts.text if line.strip()]
    assert said[:3] == ["mixed – Blush", "mixed", "Three classes are <supported>."]
    assert "auc" in said
    assert parts.headings == ["Classes", "Against the truth", "Maps", "Differences", "Sizes and changes",
                              "Fourier shell correlation", "Images", "Time", "Inputs and versions"]  # fmt: skip
    assert "Class &lt;2&gt; looks odd" in text


def test_warnings_come_before_the_classes(text):
    assert text.index("are &lt;supported&gt;") < text.index('<ul class="warnings">') < text.index("<h2>Classes")


def test_the_table_counts_images_hard_and_soft(text):
    """An image is in its class with 0.9 and in each other one with 0.05: 30 x 0.9 + 30 x 0.05 = 28.5."""
    rows = rows_of(text, "Classes")
    assert rows[1][:6] == ["1", "30", "28.5", "50.0 %", "0.900", "9.00 Å"]
    assert [row[1] for row in rows[1:]] == ["30", "20", "10"]
    assert "labels shared" in rows[0][-1]


def test_agreement_with_the_truth_is_shown(text):
    """55 of 60 are right once classes 1 and 2 are exchanged; 0.9 was stated where 0.917 is right."""
    rows = rows_of(text, "Against the truth")
    assert rows[0] == ["Class", "true 1 state&lt;1&gt;", "true 2 state&lt;2&gt;", "true 3 state&lt;3&gt;"]
    assert rows[1:] == [["1", "3", "27", "0"], ["2", "18", "2", "0"], ["3", "0", "0", "10"]]
    assert "91.7 % of the images" in text
    assert "Calibration error 0.017" in text


def test_images_that_changed_class_are_counted(text):
    part = text[text.index("<h2>Sizes and changes</h2>") :]
    rows = rows_of(part[: part.index("<summary>")], "Sizes and changes")
    assert rows[1:] == [["class 1", "24", "0", "0"], ["class 2", "6", "20", "0"], ["class 3", "0", "0", "10"]]


def test_figures_are_svg_that_parses(text):
    figures = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(figures) == 7
    for figure in figures:
        ElementTree.fromstring(figure)
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert not re.search(r"#0[14780a]0[2589b]0[369c]", text), "a placeholder colour was left in a figure"


def test_differences_are_cut_where_classes_differ(classified):
    drawn = class_pictures(read(classified))
    middle = BOX // 2
    assert np.abs(np.array(drawn.place) - (middle + 6, middle + 4, middle - 3)).max() <= 1
    assert len(drawn.by_class) == 3
    assert drawn.differences[2][0][1] == drawn.differences[3][0][1] != drawn.differences[1][0][1]
    assert len(drawn.confirmed) == 3


def test_classes_share_one_grey_scale(classified, changed):
    """Maps 2 and 3 are equal, and so are their pictures; that of class 2 is another once class 3 is brighter."""
    before = class_pictures(read(classified))
    assert before.by_class[2][0][1] == before.by_class[3][0][1]
    path = changed / f"run_it{LAST:03d}_class003.mrc"
    write_volume(path, 3 * read_volume(path)[0], PIXEL)
    after = class_pictures(read(changed))
    assert after.by_class[2][0][1] != before.by_class[2][0][1]


def test_a_surface_is_bright_where_it_faces_the_light_and_marked_where_it_is_confirmed():
    volume, marks = ball((0, 0, 0), 8.0), np.zeros((BOX,) * 3)
    marks[:, :, BOX // 2 :] = 1
    seen = surface(volume, marks, 0.5, 0)
    middle = BOX // 2
    assert seen[0, 0].max() == 0  # nothing is there
    assert seen[middle + 3, middle - 3].sum() != 0
    assert seen[middle + 4, middle + 4].sum() > seen[middle - 5, middle - 5].sum()  # light from above and right
    assert seen[middle, middle - 2, 2] > seen[middle, middle - 2, 0]  # bluish grey
    assert seen[middle, middle + 2, 0] > 2 * seen[middle, middle + 2, 2]  # orange


def test_resolution_is_that_of_the_last_shell_above_the_threshold():
    fsc = np.array([1.0, 0.9, 0.5, 0.243, 0.043, 0.3])
    assert fsc_resolution_angst(fsc, 100.0) == pytest.approx(100 / 3)
    assert fsc_resolution_angst(np.ones(6), 100.0) == 20
    assert fsc_resolution_angst(np.eye(6)[0], 100.0) is None


def test_without_a_verdict_the_page_says_so(changed):
    write_json(changed / "classes.json", {"classes": []})
    assert read(changed).verdict.startswith("Not verified:")


def test_a_verdict_that_came_later_counts(changed):
    tested = [{"given_class": 2, "found_again": True}, {"given_class": 1, "found_again": False}]
    found = {"verdict": "Classes are noise.", "n_images": 60, "classes": tested}
    write_json(changed / "classes_verified/classes_verified.json", found)
    data = read(changed)
    assert (data.verdict, data.verified) == (found["verdict"], found)
    rows = rows_of(f"<h2>Classes</h2>{class_table(data)}", "Classes")
    assert [row[-1] for row in rows] == ["Found again", "no", "yes", "–"]


def test_a_class_that_is_a_micrograph_is_warned_of(classified, tmp_path):
    assert not any("micrograph" in note for note in read(classified).notes)
    write_class_import(tmp_path / "mixed", LABELS)
    write_class_iterations(tmp_path / "mixed")
    [note] = read(tmp_path / "mixed").notes
    assert note.startswith("the micrograph of an image tells 100 % of what there is to know of its class")


def test_a_truth_of_other_images_is_told(changed):
    truth = changed.parent / "truth.star"
    write_json(changed / "import/config.json", read_run(changed).config | {"truth": {"particles": str(truth)}})
    truth.write_text("data_particles\nloop_\n_rlnClassNumber\n1\n2\n")
    data = read(changed)
    assert data.truth is None
    assert "classes were not compared with the truth" in data.notes[0]
    assert "has other rows (found 2); give the truth of the 60 images" in data.notes[0]


def test_a_classification_that_has_just_begun_has_a_page(tmp_path):
    write_class_import(tmp_path / "mixed")
    write_class_iterations(tmp_path / "mixed", last=0)
    parts = outline(write_report(tmp_path / "mixed").read_text())
    assert parts.headings == ["Time", "Inputs and versions"]
    assert "Not finished: iteration 0 is done" in " ".join(parts.text)
