"""STAR files of other programs: nothing is merged, lost or changed; every fixture reads as starfile reads it."""

import time
from pathlib import Path

import numpy as np
import pytest
import starfile

from blush.errors import BlushError
from blush.io import star_text
from blush.io.columns import numbers
from blush.io.particle_columns import NUMERIC_COLUMNS
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
        ("data_x\nloop_\n_a\n_b\n1 2\ndata_20", "line 6: is a row that was cut short, or a block without content"),
        ("data_x\nloop_\n_a\n_b\n1 2\ndata_20\n3 4\n", "line 6: is a row that was cut short, or a block"),
        ("data_x\nloop_\n_a\n1\ndata_20\ndata_21\n", "line 5: is a row that was cut short, or a block"),
        ("data_x\nloop_\n_a\n_b\n_c\n1 2 3\ndata_20 4\n", "line 7: row has 2 values for 3 columns (found data_20 4)"),
        ("data_x\nloop_\n_a\n_b\n1 #2 3 4\n", "line 5: row has 1 values for 2 columns"),
    ],
)
def test_rows_that_were_cut_short_are_no_blocks(tmp_path, content, message):
    with pytest.raises(BlushError) as caught:
        read(tmp_path, content)
    assert f"a.star, {message}" in str(caught.value)


@pytest.mark.parametrize("first", ["data_2023/m.mrc", "loop_1/m.mrc", "_grid/m.mrc", "_grid"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_rows_that_look_like_keywords_are_rows(tmp_path, first, place):
    rows = ["a 1 x", "b 2 y", "c 3 z"]
    rows[place] = f"{first} 7 w"
    table = read(tmp_path, "data_x\nloop_\n_a #1\n_b #2\n_c #3\n" + "\n".join(rows) + "\n\ndata_y\n_d 1\n")
    assert table["x"]["b"].tolist() == [7 if place == row else row + 1 for row in range(3)]
    assert table["x"]["a"][place] == first
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


@pytest.mark.parametrize(
    ("value", "is_wrong"),
    [
        *((text, False) for text in ("007", "+5", "-0", "9223372036854775808")),
        *((text, True) for text in ("1_2", "١٢", "1_0.5")),
    ],
)
def test_identifiers_are_no_numbers(tmp_path, value, is_wrong):
    """Nor does a column that is computed with take 1_2 for 12; a number with a leading zero is one there."""
    content = f"data_x\nloop_\n_ucsfUid #1\n_rlnDefocusU #2\n{value} {value}\n"
    found = read(tmp_path, content, numeric=NUMERIC_COLUMNS)["x"]
    assert found["ucsfUid"].tolist() == [value]
    assert found["rlnDefocusU"].tolist() == [value]
    assert np.isnan(numbers(found, "rlnDefocusU", 0, "x", tmp_path, [])).all() == is_wrong


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
@pytest.mark.parametrize("value", ["", "#", "a b", "'5", '"', "a' b", '" ', "it's", "data_x", "_a", '5\' "x"y'])
def test_text_that_needs_quotes_comes_back(tmp_path, value):
    write_star(tmp_path / "b.star", {"x": {"rlnName": np.array([value, "z"], dtype=object), "rlnN": [1, 2]}})
    assert read_star(tmp_path / "b.star")["x"]["rlnName"].tolist() == [value, "z"]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b", "a' b\" c"])
def test_text_that_star_cannot_hold_is_not_written(tmp_path, value):
    with pytest.raises(ValueError, match="STAR cannot hold"):
        write_star(tmp_path / "b.star", {"x": {"rlnName": np.array([value], dtype=object)}})
    assert list(tmp_path.iterdir()) == []


def test_a_large_table_is_written_as_a_small_one(tmp_path, monkeypatch):
    table = {"rlnName": np.array(list("abcde"), dtype=object), "rlnX": [1, 2, 0.01, 3, 4], "rlnN": np.arange(5)}
    write_star(tmp_path / "a.star", {"x": table})
    monkeypatch.setattr(star_text, "_ROWS_AT_ONCE", 2)
    write_star(tmp_path / "b.star", {"x": table})
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()


@pytest.mark.parametrize("word", ['"a ', "'a ", "'a' ", '"a"b ', "'# "])
def test_time_is_linear_in_quoted_words(tmp_path, word):
    """A quadratic reader takes minutes for this."""
    start = time.process_time()
    with pytest.raises(BlushError, match="values for 1 columns"):
        read(tmp_path, "data_x\nloop_\n_a\nx " + word * 200_000)
    assert time.process_time() - start < 5


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
