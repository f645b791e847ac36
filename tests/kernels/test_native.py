"""Building, choosing and calling the compiled kernels."""

import ctypes
import os
import shutil

import pytest
import torch

from blush.errors import BlushError
from blush.kernels import native

needs_compiler = pytest.mark.skipif(native.library() is None, reason="no C++ compiler")


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """An empty cache folder, and `library` without its memory."""
    monkeypatch.setenv("BLUSH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(native, "_choice", "auto")
    return native.library.__wrapped__


def test_the_cache_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("BLUSH_CACHE", str(tmp_path / "own"))
    assert native.cache_folder() == tmp_path / "own"
    monkeypatch.delenv("BLUSH_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.cache_folder() == tmp_path / "blush"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert native.cache_folder() == tmp_path / "home" / ".cache" / "blush"


@pytest.fixture
def temporary(monkeypatch, tmp_path):
    """A user without a home that can be written; temporary files lie in the test's folder."""
    for name in ("BLUSH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_without_a_home_kernels_are_kept_among_the_temporary_files_and_it_is_said(temporary, capsys):
    folder = native.cache_folder()
    assert folder == temporary / f"blush-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"file/.cache/blush: cannot be made: Not a directory: kernels are kept in {folder}; name another" in said


def test_a_user_whom_the_system_does_not_know_has_a_cache_too(temporary, monkeypatch, capsys):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)  # KeyError, as for a number without a name
    assert native.cache_folder() == temporary / f"blush-{os.getuid()}"
    assert "home directory" in capsys.readouterr().err


def test_a_temporary_folder_that_others_can_write_holds_no_program(temporary):
    stand_in = temporary / f"blush-{os.getuid()}"
    stand_in.mkdir()
    stand_in.chmod(0o777)
    with pytest.raises(BlushError, match=r"no place for.*\n.*can be written by others.*; name a folder in BLUSH_CACHE"):
        native.cache_folder()


def test_a_cache_that_was_named_and_cannot_be_made_is_refused(temporary, monkeypatch):
    monkeypatch.setenv("BLUSH_CACHE", str(temporary / "file" / "cache"))
    with pytest.raises(BlushError, match=r"file/cache: cannot be made: Not a directory; name another folder in BLUSH_"):
        native.cache_folder()


@needs_compiler
def test_kernels_are_compiled_once_and_then_loaded(fresh, monkeypatch, tmp_path):
    assert isinstance(fresh(), ctypes.CDLL)
    built = list((tmp_path / "cache").iterdir())
    assert [path.suffix for path in built] == [".so"]
    monkeypatch.setenv("CXX", "/bin/false")  # would fail if it were asked again
    assert fresh().blush_native_version() == 1
    assert list((tmp_path / "cache").iterdir()) == built


def test_a_compiler_that_fails_is_named_and_leaves_nothing(fresh, monkeypatch, tmp_path):
    compiler = tmp_path / "c++"
    compiler.write_text("#!/bin/sh\necho 'no such instruction' >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    with pytest.raises(BlushError, match=r"c\+\+ could not compile .*no such instruction.*compute.kernels: torch"):
        fresh()
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def without_compiler(fresh, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(native, "library", fresh)


def test_without_a_compiler_the_torch_kernels_serve_and_it_is_said(without_compiler, capsys):
    assert not native.usable(torch.zeros(2))
    assert "install g++" in capsys.readouterr().err


def test_native_cannot_be_chosen_without_a_compiler(without_compiler):
    with pytest.raises(BlushError, match=r"compute\.kernels is 'native', but there is no C"):
        native.choose("native")


def test_an_unknown_choice_is_refused(monkeypatch):
    monkeypatch.setattr(native, "_choice", "auto")
    with pytest.raises(ValueError, match="kernels is 'fast'"):
        native.choose("fast")


@needs_compiler
def test_the_choice_decides_which_tensors_are_served(monkeypatch):
    monkeypatch.setattr(native, "_choice", "auto")
    assert native.usable(torch.zeros(2), torch.zeros(2, dtype=torch.complex64))
    assert not native.usable(torch.zeros(2), torch.zeros(2, dtype=torch.float64))
    assert not native.usable(torch.zeros(2, device="meta"))
    native.choose("torch")
    assert not native.usable(torch.zeros(2))
    native.choose("native")
    assert native.usable(torch.zeros(2))


@needs_compiler
def test_a_strided_tensor_is_refused():
    with pytest.raises(ValueError, match=r"project: a tensor of shape \(3, 4\) is not contiguous"):
        native.call("project", torch.zeros(4, 3).T)
