"""The same refinement with its workers as SLURM jobs, one of which is cancelled on the way."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from workflow_helpers import ROOT, digests, snakemake, until

from blush.cluster.workers import job_name

LOCAL_SLURM = str(ROOT / "scripts" / "local_slurm.sh")


@pytest.fixture
def slurm(tmp_path):
    """A SLURM of this machine alone."""
    lacking = [name for name in ("sbatch", "slurmctld", "slurmd", "munge") if shutil.which(name) is None]
    if lacking:
        pytest.skip(f"needs {', '.join(lacking)}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("needs root, to start SLURM's daemons")
    if Path("/etc/slurm/slurm.conf").exists():
        pytest.skip("this machine has a SLURM of its own")
    folder = tmp_path / "slurm"
    subprocess.run([LOCAL_SLURM, "start", folder], check=True, stdout=subprocess.DEVNULL, timeout=120)
    yield
    subprocess.run([LOCAL_SLURM, "stop", folder], check=True, timeout=60)


def worker_jobs(folder, *states):
    """Numbers of a pool's jobs."""
    command = ["squeue", "-h", "-n", job_name(folder / ".pool"), "-o", "%i"]
    command += ["-t", ",".join(states)] if states else []
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slurm
def test_workers_as_slurm_jobs_give_the_same_bytes_though_one_is_cancelled(slurm, make_config, one_process):
    compute = {"pool": "auto", "slurm": {"partition": "main", "gres": "gpu:1", "minutes": 30}}
    config = make_config(compute=compute)
    folder = config.parent / "results" / "tiny"
    with (config.parent / "snakemake.log").open("w") as log:
        workflow = subprocess.Popen(snakemake(config, profile="slurm"), cwd=ROOT, stdout=log, stderr=log)
        with workflow:
            until(lambda: (folder / "it001" / "half1_sums.npz").exists() or workflow.poll() is not None, 300)
            first = worker_jobs(folder, "RUNNING") or pytest.fail((config.parent / "snakemake.log").read_text())
            subprocess.run(["scancel", first[0]], check=True)
            assert workflow.wait(400) == 0, (config.parent / "snakemake.log").read_text()
    assert digests(folder) == one_process
    assert len(list((folder / ".pool").glob("worker-slurm-*.log"))) == 3, "the cancelled worker was replaced"
    assert len(list((folder / ".pool" / "tls").glob("*.pem"))) == 2, "workers of other machines are reached by TLS"
    assert until(lambda: not worker_jobs(folder), 30), "no worker outlives the workflow"
