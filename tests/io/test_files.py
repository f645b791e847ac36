"""Files appear whole or not at all, with the same bytes for the same content."""

import os
import resource
import signal
import time

import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.files import atomic_write, load_npz, read_json, save_npz, write_json


def test_a_failed_write_leaves_the_old_file_and_no_trace(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with atomic_write(path) as beside:
            beside.write_text("half")
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_makes_folders_and_an_ordinary_mode(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as beside:
        assert beside.parent == path.parent
        beside.write_text("new")
    plain = tmp_path / "plain"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
    assert os.listdir(path.parent) == ["a.txt"]


def test_json_is_sorted_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [1.5, None, "Å"]})
    assert path.read_text(encoding="utf-8").index('"a"') < path.read_text(encoding="utf-8").index('"b"')
    assert read_json(path) == {"a": [1.5, None, "Å"], "b": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert read_json(path)["b"] == 1


def test_npz_round_trip_repeats_its_bytes(tmp_path, monkeypatch):
    arrays = {
        "b": np.arange(6).reshape(2, 3).T,
        "a": np.float32(2.5),
        "c": np.array(["x", "yz"]),
        "d": np.zeros((0, 3)),
    }
    save_npz(tmp_path / "1.npz", arrays)
    monkeypatch.setattr(time, "time", lambda: 2e9)
    save_npz(tmp_path / "2.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    found = load_npz(tmp_path / "1.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


def test_npz_refuses_pickled_objects(tmp_path):
    with pytest.raises(ValueError, match="pickle"):
        save_npz(tmp_path / "a.npz", {"a": np.array([{}], dtype=object)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("write", "content"), [(write_json, "x" * 9000), (save_npz, {"a": np.zeros(9000)})])
def test_a_full_disk_is_told_with_the_file(write, content, tmp_path):
    """A limit on the size of files stands for the disk: the system refuses with an error of the same kind."""
    path = tmp_path / "result"
    before, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(BlushError, match=r"result: cannot be written: File too large; make room"):
            write(path, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_the_program_is_no_full_disk(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "result"):
        (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "Is a directory"),
        ("file/a.json", "File exists"),
        ("file/below/a.json", "Not a directory"),
        ("x" * 300 + "/a.json", "File name too long"),
        ("loop/a.json", "Too many levels of symbolic links"),
    ],
)
def test_a_place_where_no_file_can_be_is_told(tmp_path, name, reason):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(BlushError, match=rf"cannot be written: ({reason}|File exists); name another place") as caught:
        write_json(tmp_path / name, {})
    assert str(tmp_path / name) in str(caught.value)
    assert (tmp_path / "file").read_text() == "kept"


def test_mistakes_within_a_write_are_not_taken_for_those_of_its_place(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError), atomic_write(tmp_path / "out/a.txt"):
        (tmp_path / "file/x").read_text()
