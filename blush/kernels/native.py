"""Compiles and loads the C++ kernels of `native.cpp`, once per source and processor.

The kernels are compiled for the processor they run on, at first use, into the user's cache folder; nothing
is built at installation. A machine without a compiler uses the torch twins, and says so once.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem

SOURCE = Path(__file__).with_name("native.cpp")
FLAGS = (
    "-std=gnu++17",
    "-O3",
    "-march=native",
    "-mprefer-vector-width=512",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-shared",
    "-fPIC",
)  # no -ffast-math: it would flush denormals in the whole process


def cache_folder(needed: str = "") -> Path:
    """Folder of the compiled kernels: $BLUSH_CACHE, else $XDG_CACHE_HOME/blush, else ~/.cache/blush.

    Where the home folder is missing or cannot be written, a folder of this user among the temporary files, which is
    announced on stderr. A folder that holds the file `needed` need not be writable.

    Raises
    ------
    BlushError
        If $BLUSH_CACHE cannot be written, or nothing can.
    """
    if own := os.environ.get("BLUSH_CACHE"):
        return _usable(Path(own), needed, "name another folder in BLUSH_CACHE")
    try:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "blush"
        return _usable(home, needed)
    except (RuntimeError, BlushError) as error:  # RuntimeError: the user has no home
        stand_in = Path(tempfile.gettempdir()) / f"blush-{os.getuid()}"
        _usable(stand_in, needed, "name a folder in BLUSH_CACHE that can be written")
        sys.stderr.write(f"blush: {str(error).splitlines()[-1].strip()}: kernels are kept in {stand_in}; ")
        sys.stderr.write("name another folder in BLUSH_CACHE to keep them elsewhere\n")
        return stand_in


def _usable(folder: Path, needed: str, remedy: str = "") -> Path:
    """A folder that holds what is needed or can be written; among the temporary files only one that is this user's."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = folder.stat()
    except OSError as error:
        fault = f"cannot be made: {os.strerror(error.errno or 0)}"
    else:
        others = status.st_uid != os.getuid() or status.st_mode & 0o022
        if others and folder.parent == Path(tempfile.gettempdir()):
            fault = "can be written by others, who could put a program there"
        elif (folder / needed).is_file() or os.access(folder, os.W_OK):
            return folder
        else:
            fault = "cannot be written"
    raise BlushError("no place for the compiled kernels", [Problem(fault, remedy, str(folder))])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    wanted = ("model name", "flags", "Features")
    return "\n".join(sorted({line for line in lines if line.startswith(wanted)}))


def _compile(compiler: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=target.parent, suffix=".so")
    os.close(handle)
    flags = [f for f in FLAGS if platform.machine() == "x86_64" or "prefer-vector" not in f]
    done = subprocess.run([compiler, *flags, "-o", name, str(SOURCE)], capture_output=True, text=True, check=False)
    if done.returncode:
        Path(name).unlink()
        raise BlushError(
            f"{compiler} could not compile {SOURCE}: {done.stderr.strip()[-2000:]}; "
            "mend the compiler or set compute.kernels: torch"
        )
    os.replace(name, target)


@functools.cache
def library() -> ctypes.CDLL | None:
    """The loaded kernels, or None (announced on stderr) where there is no C++ compiler."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("c++") or shutil.which("clang++")
    if compiler is None:
        sys.stderr.write(
            "blush: no C++ compiler found (g++, c++, clang++ or $CXX): using the torch kernels, which are about "
            "ten times slower on a CPU; install g++ for speed\n"
        )
        return None
    key = hashlib.sha256("\0".join((SOURCE.read_text(), _processor(), *FLAGS)).encode()).hexdigest()[:24]
    name = f"kernels-{key}.so"
    target = cache_folder(name) / name
    if not target.exists():
        _compile(compiler, target)
    return ctypes.CDLL(str(target))


_choice = "auto"


def choose(kernels: str) -> None:
    """Select the CPU kernels of this process: 'auto', 'native' or 'torch' (`compute.kernels`)."""
    global _choice
    if kernels not in ("auto", "native", "torch"):
        raise ValueError(f"kernels is {kernels!r}; use 'auto', 'native' or 'torch'")
    if kernels == "native" and library() is None:
        raise BlushError("compute.kernels is 'native', but there is no C++ compiler; install g++ or use 'auto'")
    _choice = kernels


def usable(*tensors: Tensor) -> bool:
    """True when the compiled kernels serve these tensors: float32 or complex64 on the CPU."""
    if _choice == "torch" or any(t.device.type != "cpu" for t in tensors):
        return False
    return all(t.dtype in (torch.float32, torch.complex64) for t in tensors) and library() is not None


def call(name: str, *arguments: Tensor | np.ndarray | int | float | None) -> None:
    """Call a kernel; tensors go as pointers (they must be contiguous), ints as int64, floats as float."""
    converted: list[object] = []
    for a in arguments:
        if isinstance(a, Tensor):
            if not a.is_contiguous():
                raise ValueError(f"{name}: a tensor of shape {tuple(a.shape)} is not contiguous")
            converted.append(ctypes.c_void_p(a.data_ptr()))
        elif a is None:
            converted.append(ctypes.c_void_p(None))
        elif isinstance(a, float):
            converted.append(ctypes.c_float(a))
        else:
            converted.append(ctypes.c_int64(int(a)))
    kernel = getattr(library(), f"blush_{name}")
    kernel.restype = None
    kernel(*converted)


def int32(*indices: Tensor) -> tuple[Tensor, ...]:
    """Indices as the kernels take them."""
    return tuple(one.to(torch.int32).contiguous() for one in indices)
