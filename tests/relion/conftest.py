"""A small simulated data set, and a way to run RELION 3.1.3 on it; skipped where RELION is not installed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))

from relion_data import DataSet, write_data_set  # noqa: E402

T = TypeVar("T")


@pytest.fixture(scope="session")
def once() -> Callable[[tuple, Callable[[], T]], T]:
    """Call a function once for a key, and give what it returned whenever the key comes again.

    A fixture of a module that makes files in a folder of the session needs it: pytest-xdist moves tests to a process
    that is idle, so that one may come back to a module, or to a parameter, whose fixtures have ended there.
    """
    done = {}

    def call(key: tuple, make: Callable[[], T]) -> T:
        if key not in done:
            done[key] = make()
        return done[key]

    return call


@pytest.fixture(scope="session")
def relion_project_folder(tmp_path_factory) -> Path:
    """An empty RELION project; every test that uses it needs RELION on PATH."""
    if shutil.which("relion_refine") is None:
        pytest.skip("relion_refine is not on PATH: apt-get install relion")
    return tmp_path_factory.mktemp("relion")


@pytest.fixture(scope="session")
def run_relion(relion_project_folder):
    """Run a RELION program in the project folder; its output is shown where it fails."""

    def run(program: str, *arguments: object) -> str:
        command = [f"relion_{program}", *(str(argument) for argument in arguments)]
        done = subprocess.run(command, cwd=relion_project_folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def data_set(relion_project_folder) -> DataSet:
    """300 noisy views of a map of Gaussian blobs, with random poses, offsets and astigmatism."""
    return write_data_set(relion_project_folder)
