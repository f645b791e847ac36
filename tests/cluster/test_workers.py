"""What is asked of SLURM for a worker."""

import asyncio
import itertools
import json

import pytest
from cluster_helpers import compute

from blush.cluster.workers import SlurmJobs, job_name


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Commands of SLURM that note how they are called; squeue answers with what a test puts into a file."""
    for name, body in {
        "sbatch": 'printf "%s\\n" "$@" >> "$FAKE/calls"; echo >> "$FAKE/calls"; exit "$(cat "$FAKE/status")"',
        "squeue": 'cat "$FAKE/queue"',
        "scancel": 'echo "scancel $*" >> "$FAKE/calls"',
    }.items():
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    (tmp_path / "status").write_text("0")
    (tmp_path / "queue").write_text("")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def calls(folder):
    path = folder / "calls"
    return path.read_text().strip().split("\n\n") if path.exists() else []


def test_as_many_jobs_as_are_missing_are_submitted(slurm):
    (slurm / "queue").write_text("RUNNING\nPENDING\nCOMPLETING\n")
    asyncio.run(SlurmJobs(slurm / "pool", 5, compute()).top_up([]))
    assert len(calls(slurm)) == 3


def test_a_job_asks_for_what_the_configuration_says(slurm):
    section = {"partition": "gpu", "account": "me", "gres": "gpu:1", "minutes": 90, "options": ["--constraint=a100"]}
    section["interface"] = "ib0"
    wanted = compute(slurm=section, threads_per_worker=2, memory_gb=7.5, scratch="/scratch/a b")
    asyncio.run(SlurmJobs(slurm / "pool", 1, wanted).top_up([]))
    asked = calls(slurm)[0].split("\n")
    pairs = dict(itertools.pairwise(asked))
    expected = {"-J": job_name(slurm / "pool"), "-c": "2", "--mem": "7500M", "-t": "90"}
    assert expected.items() <= pairs.items()
    assert {"--partition=gpu", "--account=me", "--gres=gpu:1", "--constraint=a100"} <= set(asked)
    assert pairs["--wrap"].startswith("exec ")
    assert pairs["--wrap"].endswith(
        f"-m blush.cluster.worker {slurm / 'pool'} slurm-$SLURM_JOB_ID --scratch '/scratch/a b' --interface ib0"
    )


def test_a_refusal_of_sbatch_is_told(slurm):
    (slurm / "sbatch").write_text("#!/bin/sh\necho 'invalid partition specified: x' >&2; exit 1\n")
    jobs = SlurmJobs(slurm / "pool", 2, compute())
    asyncio.run(jobs.top_up([]))
    assert jobs.trouble == (
        "sbatch refuses a worker: invalid partition specified: x; correct compute.slurm in the configuration"
    )


def test_jobs_that_end_before_they_join_are_given_up_after_three_rounds(slurm, monkeypatch):
    monkeypatch.setattr("blush.cluster.workers._SECONDS_BETWEEN_SLURM_LOOKS", 0.0)
    (slurm / "pool").mkdir()
    (slurm / "pool" / "worker-slurm-1.log").write_text("No module named blush\n")
    jobs = SlurmJobs(slurm / "pool", 2, compute())
    for _ in range(5):
        asyncio.run(jobs.top_up([]))
    assert len(calls(slurm)) == 6
    assert "end before their workers join" in jobs.trouble
    assert jobs.trouble.endswith("No module named blush")


def test_a_controller_that_does_not_answer_changes_nothing(slurm):
    (slurm / "squeue").write_text("#!/bin/sh\nexit 1\n")
    asyncio.run(SlurmJobs(slurm / "pool", 2, compute()).top_up([]))
    assert calls(slurm) == []


def test_the_end_cancels_the_jobs_of_this_pool_alone(slurm):
    SlurmJobs(slurm / "pool", 2, compute()).end()
    assert calls(slurm) == [f"scancel --name {job_name(slurm / 'pool')}"]
    assert job_name(slurm / "pool") != job_name(slurm / "other")


def test_settings_of_a_pool_survive_json():
    section = compute(slurm={"options": ["--a", "--b"]})
    assert json.loads(json.dumps(section)) == section
