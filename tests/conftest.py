"""Fixtures of every room: one thread, and each kernel in each precision."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # Triton's kernels run in its interpreter; it looks when it is imported, by whatever test comes first.
    os.environ["TRITON_INTERPRET"] = "1"

from blush.kernels import native

torch.set_num_threads(1)
# Tests that were started in the background, by a shell or a runner, ignore Ctrl-C, and so would all that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["float64", "float32-torch", "float32-native"])
def real(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> torch.dtype:
    """Real type, with the kernels that serve it: torch in both precisions, the compiled ones in float32."""
    precision, _, kernels = request.param.partition("-")
    monkeypatch.setattr(native, "_choice", kernels or "torch")
    if kernels == "native" and native.library() is None:
        pytest.skip("no C++ compiler")
    return getattr(torch, precision)


@pytest.fixture
def both_kernels(monkeypatch: pytest.MonkeyPatch):
    """Run a function under the compiled and under the torch kernels; gives both results."""
    if native.library() is None:
        pytest.skip("no C++ compiler")

    def run(compute):
        results = []
        for kernels in ("native", "torch"):
            monkeypatch.setattr(native, "_choice", kernels)
            results.append(compute())
        return results

    return run


@pytest.fixture
def local_slurm(tmp_path: Path):
    """A SLURM of this machine alone."""
    lacking = [name for name in ("sbatch", "slurmctld", "slurmd", "munge") if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("needs root, to start SLURM's daemons")
    script, folder = Path(__file__).parents[1] / "scripts" / "local_slurm.sh", tmp_path / "slurm"
    with (Path(tempfile.gettempdir()) / "blush-local-slurm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one at a time: a machine has one configuration of SLURM
        if Path("/etc/slurm/slurm.conf").exists():
            pytest.skip("this machine has a SLURM of its own")
        subprocess.run([script, "start", folder], check=True, stdout=subprocess.DEVNULL, timeout=120)
        yield
        subprocess.run([script, "stop", folder], check=True, timeout=60)
