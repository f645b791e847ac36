"""STAR tables survive a round trip; the writer's text is RELION's and repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blush.errors import BlushError
from blush.io import star_parse
from blush.io.star import read_star, write_star


def text(*values):
    return np.array(values, dtype=object)


def test_written_text_is_what_relion_reads(tmp_path):
    path = tmp_path / "a.star"
    blocks = {"general": {"rlnFinalResolution": 3.25, "rlnMaskName": "a mask.mrc"}, "fsc": {"rlnSpectralIndex": [0, 1]}}
    write_star(path, blocks, comment="written by a test")
    assert path.read_text().split("\n") == [
        "# written by a test",
        "",
        "# version 30001",
        "",
        "data_general",
        "",
        "_rlnFinalResolution                           3.250000",
        '_rlnMaskName                              "a mask.mrc"',
        "",
        "# version 30001",
        "",
        "data_fsc",
        "",
        "loop_",
        "_rlnSpectralIndex #1",
        "           0",
        "           1",
        "",
    ]


def test_types_columns_and_order_survive(tmp_path):
    table = {
        "rlnZ": np.array([1, -2, 3]),
        "rlnMicrographName": text("7", "a b.mrc", "'quoted'"),
        "rlnSmall": np.array([1.25e-7, -0.5, 123456.789]),
        "rlnUnknown": text("x", "_under", "data_like"),
    }
    write_star(tmp_path / "a.star", {"particles": table})
    found = read_star(tmp_path / "a.star")["particles"]
    assert list(found) == list(table)
    assert [found[name].dtype.kind for name in table] == ["i", "O", "f", "O"]
    for name, column in table.items():
        assert found[name].tolist() == column.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e8, 1e8, allow_subnormal=False), min_size=1, max_size=5))
def test_floats_keep_six_digits(tmp_path_factory, values):
    path = tmp_path_factory.getbasetemp() / "floats.star"
    write_star(path, {"x": {"rlnX": np.array(values)}})
    np.testing.assert_allclose(read_star(path)["x"]["rlnX"].astype(float), values, rtol=5e-6, atol=0)


def test_key_value_blocks_are_tables_of_one_row(tmp_path):
    write_star(tmp_path / "a.star", {"general": {"rlnA": 1, "rlnB": 2.5, "rlnC": "text", "rlnD": True}})
    found = read_star(tmp_path / "a.star")["general"]
    assert {name: column.tolist() for name, column in found.items()} == {
        "rlnA": [1],
        "rlnB": [2.5],
        "rlnC": ["text"],
        "rlnD": [1],
    }


def test_equal_tables_give_equal_bytes(tmp_path):
    table = {"rlnX": np.random.default_rng(0).standard_normal(100)}
    for name in ("a.star", "b.star"):
        write_star(tmp_path / name, {"x": table})
    assert (tmp_path / "a.star").read_bytes() == (tmp_path / "b.star").read_bytes()


def test_empty_table(tmp_path):
    write_star(tmp_path / "a.star", {"x": {"rlnX": np.array([]), "rlnY": text()}, "y": {"rlnZ": np.array([1])}})
    found = read_star(tmp_path / "a.star")
    assert {name: len(column) for name, column in found["x"].items()} == {"rlnX": 0, "rlnY": 0}


def test_columns_of_unequal_length_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'rlnX': 1, 'rlnY': 2"):
        write_star(tmp_path / "a.star", {"x": {"rlnX": [1], "rlnY": [1, 2]}})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.star: holds no table; give a STAR file written by RELION"),
        ("data_\n", "a.star: holds no table"),
        ("hello\n", "a.star, line 1: is not a STAR file (found hello); give a STAR file written by RELION"),
        (
            "data_x\nloop_\n_rlnA\n_rlnB\n1 2\n\n3\n",
            "a.star, line 7: row has 1 values for 2 columns (found 3); restore",
        ),
        ("data_x\nloop_\n_rlnA\n1 2\n", "a.star, line 4: row has 2 values for 1 columns (found 1 2); restore"),
        ("data_x\n_rlnA\n", "a.star, line 2: is neither a row of a loop_ nor a _name with its value (found _rlnA)"),
    ],
)
def test_files_that_are_not_tables_are_refused_with_the_line(tmp_path, content, message):
    path = tmp_path / "a.star"
    path.write_text(content)
    with pytest.raises(BlushError) as caught:
        read_star(path)
    assert message in str(caught.value)


def test_a_column_that_turns_to_text_late_is_text_from_its_first_row(tmp_path, monkeypatch):
    monkeypatch.setattr(star_parse, "_ROWS_AT_ONCE", 2)
    path = tmp_path / "a.star"
    path.write_text("data_x\nloop_\n_rlnTag #1\n_rlnN #2\n007 1\n008 2\n1e3 2.5\nabc 3\n")
    found = read_star(path)["x"]
    assert found["rlnTag"].tolist() == ["007", "008", "1e3", "abc"]
    assert found["rlnN"].tolist() == [1.0, 2.0, 2.5, 3.0]


def test_starfile_reads_what_is_written_and_agrees(tmp_path):
    starfile = pytest.importorskip("starfile")
    generator = np.random.default_rng(0)
    table = {
        "rlnDefocusU": generator.uniform(5000, 30000, 50),
        "rlnClassNumber": generator.integers(1, 4, 50),
        "rlnImageName": text(*(f"{i + 1:06d}@stack with blank.mrcs" for i in range(50))),
    }
    write_star(tmp_path / "a.star", {"optics": {"rlnOpticsGroup": [1]}, "particles": table})
    theirs, ours = starfile.read(tmp_path / "a.star")["particles"], read_star(tmp_path / "a.star")["particles"]
    for name in table:
        assert theirs[name].tolist() == ours[name].tolist()


HEAD = "data_particles\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (HEAD + "a 1\n\n" + HEAD + "b 2\n", r"line 8: data_particles is there twice"),
        (HEAD + "a 1\n\nloop_\n_rlnVoltage #1\n300\n", r"line 8: data_particles has a second table"),
        (HEAD + "_rlnDefocusU #3\na 1 2\n", r"line 6: column rlnDefocusU is there twice in data_particles"),
        ("data_a\n_rlnX 1\n_rlnX 2\n", r"line 3: data_a has a value beside its table, or twice"),
        (HEAD + "a 1\n\n_rlnVoltage\n", r"is neither a row of a loop_ nor a _name"),
        (HEAD + "a 1\nb \0\n", r"line 7: holds NUL bytes"),
    ],
)
def test_what_is_there_twice_is_refused_with_its_line(tmp_path, content, message):
    (tmp_path / "a.star").write_text(content)
    with pytest.raises(BlushError, match=message):
        read_star(tmp_path / "a.star")


def test_rows_that_look_like_keywords_marks_and_comments_are_read(tmp_path):
    rows = "data_2023/a.mrc 1 # the first\nloop_x 2\n_under 3\n\n'it is' 4\n"
    (tmp_path / "a.star").write_text(HEAD + rows, encoding="utf-8-sig")
    table = read_star(tmp_path / "a.star")["particles"]
    assert table["rlnImageName"].tolist() == ["data_2023/a.mrc", "loop_x", "_under", "it is"]
    assert table["rlnDefocusU"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("value", ["1_2", "000012", "18446744073709551615", "٣", "9" * 5000])
def test_what_would_lose_digits_stays_text(tmp_path, value):
    (tmp_path / "a.star").write_text(HEAD + f"a {value}\nb 7\n", encoding="utf-8")
    assert read_star(tmp_path / "a.star")["particles"]["rlnDefocusU"].tolist() == [value, "7"]


def test_columns_that_are_not_asked_for_as_numbers_stay_as_written(tmp_path):
    (tmp_path / "a.star").write_text(HEAD + "a 1.50\nb 2e3\n")
    assert read_star(tmp_path / "a.star", {"rlnImageName"})["particles"]["rlnDefocusU"].tolist() == ["1.50", "2e3"]


@pytest.mark.parametrize("words", ['"a ', "'a ", "\"a 'b "])
def test_quotes_that_nothing_closes_are_words(tmp_path, words):
    """In one pass: 200,000 of them took minutes when each looked for its end anew."""
    (tmp_path / "a.star").write_text("data_a\nloop_\n_x #1\n" + words * 100_000 + "\n")
    with pytest.raises(BlushError, match=f"row has {100_000 * words.count(' ')} values for 1 columns"):
        read_star(tmp_path / "a.star")
