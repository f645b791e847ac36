"""The same refinement with its workers as SLURM jobs, one of which is cancelled on the way."""

import subprocess

import pytest
from workflow_helpers import ROOT, digests, refused, snakemake, until

from blush.cluster.slurm import job_name


def worker_jobs(folder, *states):
    """Numbers of a pool's jobs."""
    command = ["squeue", "-h", "-n", job_name(folder / ".pool"), "-o", "%i"]
    command += ["-t", ",".join(states)] if states else []
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.slurm
def test_workers_as_slurm_jobs_give_the_same_bytes_though_one_is_cancelled(local_slurm, make_config, one_process):
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


@pytest.mark.slurm
def test_a_partition_that_is_not_there_is_told_before_the_first_step(local_slurm, make_config):
    config = make_config(compute={"pool": "auto", "slurm": {"partition": "nowhere"}})
    said = refused(snakemake(config, profile="slurm"))
    assert said.count("blush: SLURM takes no worker of this run") == 1
    assert "nvalid partition" in said
    assert not (config.parent / "results" / "tiny" / "import" / "plan.npz").exists()
