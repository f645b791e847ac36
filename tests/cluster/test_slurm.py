"""What is asked of SLURM for a worker."""

import asyncio
import itertools
import json
import shlex
import sys

import pytest
from cluster_helpers import compute

from blush.cluster.slurm import SlurmJobs, check_submission, job_name, passes
from blush.errors import BlushError


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


def jobs_of(folder, count, **changes):
    """Jobs of a pool, and the list of what they say."""
    said = []
    return SlurmJobs(folder / "pool", count, compute(**changes), said.append), said


def calls(folder):
    path = folder / "calls"
    return path.read_text().strip().split("\n\n") if path.exists() else []


def test_as_many_jobs_as_are_missing_are_submitted(slurm):
    (slurm / "queue").write_text("7 RUNNING None\n8 PENDING Priority\n9 COMPLETING None\n")
    jobs, _ = jobs_of(slurm, 5)
    asyncio.run(jobs.top_up([]))
    assert jobs.started() == ["slurm-7"]
    assert len(calls(slurm)) == 3


def test_a_job_asks_for_what_the_configuration_says(slurm):
    section = {"partition": "gpu", "account": "me", "gres": "gpu:1", "minutes": 90, "options": ["--constraint=a100"]}
    section["interface"] = "ib0"
    jobs, _ = jobs_of(slurm, 1, slurm=section, threads_per_worker=2, memory_gb=7.5, scratch="/scratch/a b")
    asyncio.run(jobs.top_up([]))
    asked = calls(slurm)[0].split("\n")
    pairs = dict(itertools.pairwise(asked))
    expected = {"-J": job_name(slurm / "pool"), "-c": "2", "--mem": "7500M", "-t": "90"}
    assert expected.items() <= pairs.items()
    assert {"--partition=gpu", "--account=me", "--gres=gpu:1", "--constraint=a100"} <= set(asked)
    assert pairs["--wrap"].startswith("exec env ")
    assert pairs["--wrap"].endswith(
        f'{sys.executable} -P -m blush.cluster.worker {slurm / "pool"} slurm-"$SLURM_JOB_ID" '
        "--scratch '/scratch/a b' --interface ib0 --tell-time"
    )


def test_a_job_names_interpreter_and_variables_itself(slurm, monkeypatch):
    """A site whose sbatch hands nothing on (--export=NONE) gets the same package, threads and libraries."""
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/a b:/opt/cuda")
    monkeypatch.setenv("BLUSH_CACHE", "/caches/it's")
    monkeypatch.setenv("BLUSH_PARENT_PID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    jobs, _ = jobs_of(slurm, 1, threads_per_worker=3)
    asyncio.run(jobs.top_up([]))
    words = shlex.split(calls(slurm)[0].split("--wrap\n")[1])
    given = dict(word.split("=", 1) for word in words[2 : words.index(sys.executable)])
    expected = {"LD_LIBRARY_PATH": "/opt/a b:/opt/cuda", "BLUSH_CACHE": "/caches/it's"}
    expected |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "3")
    expected |= {"CUBLAS_WORKSPACE_CONFIG": ":4096:8", "PATH": f"{slurm}:/usr/bin:/bin"}
    assert expected.items() <= given.items()
    assert given["PYTHONPATH"]
    assert not {"BLUSH_PARENT_PID", "CUDA_VISIBLE_DEVICES", "HOME"} & given.keys()


def test_why_slurm_lets_workers_wait_is_told_once(slurm, monkeypatch):
    monkeypatch.setattr("blush.cluster.slurm._SECONDS_BETWEEN_LOOKS", 0.0)
    (slurm / "queue").write_text("7 PENDING Priority\n8 PENDING PartitionTimeLimit\n9 PENDING (launch failed)\n")
    jobs, said = jobs_of(slurm, 3)
    for _ in range(2):
        asyncio.run(jobs.top_up([]))
    assert sorted(said) == [f"SLURM lets a worker wait: {why}" for why in ("(launch failed)", "PartitionTimeLimit")]


def refuse(folder, words):
    (folder / "sbatch").write_text(f"#!/bin/sh\necho x >> {folder}/refusals; echo '{words}' >&2; exit 1\n")


def test_a_refusal_for_good_is_told_and_not_tried_again(slurm, monkeypatch):
    monkeypatch.setattr("blush.cluster.slurm._SECONDS_BETWEEN_LOOKS", 0.0)
    refuse(slurm, "sbatch: error: invalid partition specified: x")
    jobs, said = jobs_of(slurm, 2)
    for _ in range(3):
        asyncio.run(jobs.top_up([]))
    assert (slurm / "refusals").read_text() == "x\n"
    assert said == []
    assert jobs.trouble == (
        "sbatch refuses a worker: sbatch: error: invalid partition specified: x; "
        "correct compute.slurm in the configuration"
    )


def test_a_refusal_that_passes_is_told_once_and_waited_for(slurm, monkeypatch):
    monkeypatch.setattr("blush.cluster.slurm._SECONDS_BETWEEN_LOOKS", 0.0)
    refuse(slurm, "Batch job submission failed: Unable to contact slurm controller (connect failure)")
    jobs, said = jobs_of(slurm, 2)
    for _ in range(3):
        asyncio.run(jobs.top_up([]))
    assert jobs.trouble is None
    assert len(said) == 1
    assert "asked again for 10 min: Batch job submission failed: Unable to contact" in said[0]
    monkeypatch.setattr("blush.cluster.slurm._PATIENCE_SECONDS", 0.0)
    asyncio.run(jobs.top_up([]))
    assert "Unable to contact slurm controller" in jobs.trouble


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Slurm temporarily unable to accept job, sleeping and retrying", True),
        ("Batch job submission failed: Socket timed out on send/recv operation", True),
        ("error: QOSMaxSubmitJobPerUserLimit", True),
        ("Invalid account or account/partition combination specified", False),
        ("Requested time limit is invalid (missing or exceeds some limit)", False),
        ("Requested node configuration is not available", False),
        ("Memory specification can not be satisfied", False),
        ("sbatch: unrecognized option '--frobnicate'", False),
        ("something that nobody has seen before", False),
    ],
)
def test_which_refusals_pass(words, expected):
    assert passes(words) is expected


def test_sbatch_is_asked_before_a_workflow_starts(slurm):
    check_submission(slurm / "pool", compute())
    assert "--test-only" in calls(slurm)[0].split("\n")
    refuse(slurm, "allocation failure: Invalid partition name specified")
    with pytest.raises(BlushError, match=r"no worker of this run\n.*says: allocation failure: Invalid part.*; correct"):
        check_submission(slurm / "pool", compute())
    for words in ("Unable to contact slurm controller", "Requested node configuration is not available"):
        refuse(slurm, f"allocation failure: {words}")
        check_submission(slurm / "pool", compute())  # it may be there by the time that workers are wanted


def test_without_sbatch_that_is_said(slurm, monkeypatch):
    monkeypatch.setenv("PATH", str(slurm / "nowhere"))
    with pytest.raises(BlushError, match="sbatch says: sbatch: No such file"):
        check_submission(slurm / "pool", compute())


def test_a_worker_that_hangs_is_killed_before_it_is_cancelled(slurm):
    """What is cancelled alone is continued first, and could write behind the back of who took its place."""
    jobs, _ = jobs_of(slurm, 1)
    asyncio.run(jobs.end_one("slurm-31"))
    assert calls(slurm) == ["scancel --full --signal=KILL 31\nscancel 31"]


def test_jobs_that_end_before_they_join_are_given_up_after_three_rounds(slurm, monkeypatch):
    monkeypatch.setattr("blush.cluster.slurm._SECONDS_BETWEEN_LOOKS", 0.0)
    (slurm / "pool").mkdir()
    (slurm / "pool" / "worker-slurm-1.log").write_text("No module named blush\n")
    jobs, _ = jobs_of(slurm, 2)
    for _ in range(5):
        asyncio.run(jobs.top_up([]))
    assert len(calls(slurm)) == 6
    assert "end before their workers join" in jobs.trouble
    assert jobs.trouble.endswith("No module named blush")


def test_a_controller_that_does_not_answer_changes_nothing(slurm):
    (slurm / "squeue").write_text("#!/bin/sh\nexit 1\n")
    asyncio.run(jobs_of(slurm, 2)[0].top_up([]))
    assert calls(slurm) == []


def test_the_end_cancels_the_jobs_of_this_pool_alone(slurm):
    jobs_of(slurm, 2)[0].end()
    assert calls(slurm) == [f"scancel --name {job_name(slurm / 'pool')}"]
    assert job_name(slurm / "pool") != job_name(slurm / "other")


def test_settings_of_a_pool_survive_json():
    section = compute(slurm={"options": ["--a", "--b"]})
    assert json.loads(json.dumps(section)) == section
