"""Tasks on a Dask cluster that the user runs."""

import os
import subprocess
import sys

import pytest
from cluster_helpers import alive, compute, task, until

from blush.cluster.client import run_tasks, stop_pool


@pytest.fixture
def scheduler_file(tmp_path):
    """A scheduler and one worker, as a user would start them."""
    path = tmp_path / "theirs.json"
    common = ["--scheduler-file", str(path), "--no-dashboard"]
    scheduler = [sys.executable, "-m", "distributed.cli.dask_scheduler", *common, "--host", "127.0.0.1", "--port", "0"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", *common, "--no-nanny", "--nthreads", "1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = [subprocess.Popen(scheduler, **quiet)]
    until(path.exists, 60)
    started.append(subprocess.Popen([*worker, "--local-directory", str(tmp_path)], **quiet))
    yield path, started[1].pid
    for process in started:
        process.kill()
        process.wait()


def test_tasks_go_to_the_workers_of_the_user_which_stay(folder, scheduler_file):
    path, worker = scheduler_file
    settings = compute(pool="attach", scheduler_file=str(path))
    answers = run_tasks(folder, settings, [task(folder.parent, "a", "wait", "begun", 0.0)], lambda line: None)
    assert answers["a"]["result"] == str(worker)
    stop_pool(folder)
    assert alive(worker)
    assert os.path.exists(path)
