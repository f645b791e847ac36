"""Tables with tabs: read as spreadsheets write them, refused with the line where they are none."""

from pathlib import Path

import pytest

from blush.errors import BlushError
from blush.io.tsv import read_cells, read_tsv


def read(path: Path) -> list[tuple[int, dict[str, str]]]:
    return read_tsv(path, "cannot read", "make it", ("a", "b"), ("a", "b", "c"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "t.tsv"


@pytest.mark.parametrize("text", [
    "a\tb\n1\t2\n\n3\t\n", "\ufeffa\tb\r\n1\t2\r\n\r\n3\r\n", 'a\tb\n"1"\t2\n\t\n3\n',
], ids=["plain", "spreadsheet", "quotes"])  # fmt: skip
def test_rows_come_with_their_lines(path, text):
    path.write_text(text, encoding="utf-8", newline="")
    assert read(path) == [(2, {"a": "1", "b": "2"}), (4, {"a": "3", "b": ""})]


@pytest.mark.parametrize(("content", "message"), [
    (b"a\tb\n\xff\t1\n", "is not text in UTF-8"), (b'a\tb\n"1\t2\n3\t4\n', "is no table"),
    (b"", "a: column is missing"),
    (b"a\n1\n", "b: column is missing"), (b"a\tb\ta\n", "a: column is there twice"),
    (b"a\tb\tz\n", "z: is not a known"),
    (b"a\tb\n1\t2\t3\n", "line 2: row has 3 values for 2 columns"), (b"a\tb\n" + b"x" * 200_000, "is no table"),
    (b"\0", "holds NUL bytes"),
])  # fmt: skip
def test_what_is_no_table_is_refused(path, content, message):
    path.write_bytes(content)
    with pytest.raises(BlushError, match=rf"(?s)cannot read\n.*t\.tsv.*{message}"):
        read(path)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(BlushError, match=r"none\.tsv: file does not exist; make it"):
        read_cells(tmp_path / "none.tsv", "cannot read", "make it")
