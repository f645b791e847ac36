"""A scratch copy of the repository whose tests are run in forks of this process: see `scripts/mutants.py`."""

from __future__ import annotations

import compileall
import importlib
import os
import re
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

NOT_PYTEST = 99
HEAVY = ("torch", "scipy.ndimage", "scipy.spatial", "pydantic", "mrcfile", "gemmi", "matplotlib.pyplot")


class Copy:
    """A scratch copy of the repository, in which faults are planted one at a time.

    Tests run in forks of this process, which has loaded what takes seconds to load, and nothing of `blush`. What is
    compiled is held against the content of its source, not its time.
    """

    def __init__(self, source: Path, folder: Path) -> None:
        self.root, self.said = folder / "blush", folder / "said.txt"
        ignored = shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", ".*_cache", "shared")
        shutil.copytree(source, self.root, ignore=ignored, symlinks=True)
        compileall.compile_dir(self.root / "blush", quiet=1, invalidation_mode=PycInvalidationMode.CHECKED_HASH)
        os.environ |= {"PYTHONPATH": str(self.root), "OMP_NUM_THREADS": "1"}
        sys.path.insert(0, str(self.root))
        os.chdir(self.root)
        for name in HEAVY:
            importlib.import_module(name)

    def failure(self, files: Sequence[str], timeout_s: float) -> str:
        """Name of the first test that fails, "no end" if they do not come to one in time, or nothing."""
        sys.stdout.flush()
        child = os.fork()
        if not child:
            self._run_tests(files)
        end = time.monotonic() + timeout_s
        while not (ended := os.waitpid(child, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "no end"
            time.sleep(0.02)
        said = self.said.read_text(encoding="utf-8", errors="replace")
        status = os.waitstatus_to_exitcode(ended[1])
        if status in (0, 5):  # 5: all tests of these files are slow
            return ""
        found = re.search(r"^(?:FAILED|ERROR) (\S+::\S+)", said, re.MULTILINE)
        if found is None:
            raise SystemExit(f"pytest ended with {status}\n{said[-5000:]}")
        return found[1]

    def _run_tests(self, files: Sequence[str]) -> None:
        """In the fork, which ends here with pytest's exit status, its words in a file."""
        status = NOT_PYTEST
        try:
            os.setpgid(0, 0)
            with self.said.open("w", encoding="utf-8") as said:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
            if not Path(importlib.import_module("blush").__file__ or "").is_relative_to(self.root):
                raise RuntimeError("the tests would import another package than the copy's")
            status = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *files]))
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)
