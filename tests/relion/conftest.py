"""A small simulated data set, and a way to run RELION 3.1.3 on it; skipped where RELION is not installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)
sys.path.insert(0, str(Path(__file__).parent))

from relion_data import DataSet, write_data_set  # noqa: E402


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
