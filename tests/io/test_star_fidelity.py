"""STAR files of other programs: nothing is merged, lost or changed; every fixture reads as starfile reads it."""

from pathlib import Path

import numpy as np
import pytest
import starfile

from blush.errors import BlushError
from blush.io.particle_columns import REAL_COLUMNS
from blush.io.star import read_star, write_star

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "particles"
FIXTURES = sorted(SHARED.rglob("*.star"))


def read(tmp_path, content, **options):
    path = tmp_path / "a.star"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_star(path, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("data_x\nloop_\n_a\n1\n\ndata_x\nloop_\n_a\n2\n", "line 6: data_x is there twice, first in line 1"),
        ("data_\n_a 1\n\ndata_\n_b 2\n", "line 4: data_ is there twice, first in line 1"),
        ("data_x\nloop_\n_a\n1\n\nloop_\n_a\n2\n", "line 6: data_x holds something else before this loop_"),
        ("data_x\n_a 1\nloop_\n_b\n2\n", "line 3: data_x holds something else before this loop_"),
        ("data_x\nloop_\n_a #1\n_b #2\n_a #3\n1 2 3\n", "line 5: column _a is there twice in data_x, first in line 3"),
        ("data_x\n_a 1\n_a 2\n", "line 3: _a is there twice in data_x"),
        ("data_x\nloop_\n_a\n_b _c#2\n1 2\n", "line 4: row has 2 values for 1 columns (found _b _c#2)"),
        ("data_x\nloop_\n_a\n_b\n1 2\ndata_20", "line 6: is a block without content, or a row cut short"),
        ("data_x\nloop_\n_a\n_b\n1 2\ndata_20\n3 4\n", "line 6: is a block without content, or a row cut short"),
        ("data_x\nloop_\n_a\n_b\n_c\n1 2 3\ndata_20 4\n", "line 7: row has 2 values for 3 columns (found data_20 4)"),
        ("data_x\nloop_\n_a\n1\0\n", "line 4: holds a NUL byte, so it is no text"),
        ("data_x\nloop_\n_a\n_b\n1 #2 3 4\n", "line 5: row has 1 values for 2 columns"),
    ],
)
def test_what_would_be_merged_or_lost_is_refused_with_its_line(tmp_path, content, message):
    with pytest.raises(BlushError) as caught:
        read(tmp_path, content)
    assert f"a.star, {message}" in str(caught.value)


@pytest.mark.parametrize("first", ["data_2023/m.mrc", "loop_1/m.mrc", "_grid/m.mrc", "_grid", "#2"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_that_look_like_keywords_are_rows(tmp_path, first, place):
    rows = ["a 1 x", "b 2 y", "c 3 z"]
    rows[place] = f"{first} 7 w"
    if first == "#2":
        rows[place] = "q 7 #2"
    table = read(tmp_path, "data_x\nloop_\n_a #1\n_b #2\n_c #3\n" + "\n".join(rows) + "\n\ndata_y\n_d 1\n")
    assert table["x"]["b"].tolist() == [7 if place == row else row + 1 for row in range(3)]
    assert table["x"]["c" if first == "#2" else "a"][place] == first
    assert table["y"]["d"].tolist() == [1]


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfdata_x\nloop_\n_a #1\n_b #2\n1 2\n3 4\n",
        b"data_x # two columns\nloop_ # of\n_a # first\n_b # second\n1 2 # a row\n3 4 #5\n",
        b"data_x\r\nloop_\r\n_a #1\r\n_b #2\r\n1 2\r\n3 4\r\n",
    ],
    ids=["byte order mark", "comments", "line ends of Windows"],
)
def test_marks_and_comments_are_no_data(tmp_path, content):
    found = read(tmp_path, content)
    assert {name: column.tolist() for name, column in found["x"].items()} == {"a": [1, 3], "b": [2, 4]}


@pytest.mark.parametrize("value", ["1_2", "007", "+5", "-0", "9223372036854775808", "١٢", "1_0.5", "9" * 5000])
def test_identifiers_are_no_numbers(tmp_path, value):
    found = read(tmp_path, f"data_x\nloop_\n_ucsfUid\n{value}\n", numeric=REAL_COLUMNS)
    assert found["x"]["ucsfUid"].tolist() == [value]


def test_columns_that_are_not_computed_with_are_written_as_they_were_read(tmp_path):
    columns = {
        "ucsfUid": ["15799482664248122800", "1", "2"],
        "rlnTag": ["000012", "3_07", "1e3"],
        "rlnFigure": ["0.012345", "1.50", "-1e-30"],
        "rlnWhole": ["1", "-2", "30"],
        "rlnLate": ["1", "2", "x"],
    }
    rows = [" ".join(values) for values in zip(*columns.values(), strict=True)]
    blocks = read(tmp_path, "\n".join(["data_x", "loop_", *(f"_{name}" for name in columns), *rows]), numeric=())
    write_star(tmp_path / "b.star", blocks)
    again = [line.split() for line in (tmp_path / "b.star").read_text().splitlines()[-3:]]
    assert again == [row.split() for row in rows]


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURES, reason="the particle fixtures of shared/data are not there")
@pytest.mark.parametrize("path", FIXTURES, ids=lambda path: path.name)
def test_fixtures_read_as_starfile_reads_them_before_and_after_writing(tmp_path, path):
    ours = read_star(path)
    write_star(tmp_path / "a.star", read_star(path, ()))
    for source in (path, tmp_path / "a.star"):
        theirs = starfile.read(source, always_dict=True)
        assert list(theirs) == list(ours)
        for name, table in ours.items():
            block = theirs[name]
            assert list(block.keys()) == list(table)
            for label, column in table.items():
                values = np.atleast_1d(np.asarray(block[label]))
                if column.dtype.kind == "O":
                    assert values.astype(str).tolist() == column.tolist()
                else:
                    np.testing.assert_array_equal(values.astype(column.dtype), column)
