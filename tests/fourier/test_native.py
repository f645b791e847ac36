"""Building, choosing and calling the compiled kernels."""

import ctypes
import shutil

import pytest
import torch

from blush.errors import BlushError
from blush.fourier import native

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
