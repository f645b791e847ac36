"""One run at a time in a folder; the lock goes with its holder, however that ends."""

import os
import shutil
import subprocess
import sys

import pytest

from blush.cluster.lock import hold_run
from blush.errors import BlushError

HOLD = "import sys; from pathlib import Path; from blush.cluster.lock import hold_run; hold_run(Path(sys.argv[1]))"


def test_a_folder_that_another_process_holds_is_refused_until_that_is_killed(tmp_path):
    code = HOLD + "; print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BlushError, match=rf"running already\n.*\.lock: is held.*process {holder.pid} on .*; wait"):
            hold_run(tmp_path)
        holder.kill()
    hold_run(tmp_path)
    assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_processes_that_the_holder_starts_do_not_inherit_the_lock(tmp_path):
    code = HOLD + "; from subprocess import DEVNULL, Popen; print(Popen(['sleep', '60'], stdout=DEVNULL).pid)"
    child = int(subprocess.run([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, check=True).stdout)
    try:
        hold_run(tmp_path)
    finally:
        os.kill(child, 9)


NO_FLOCK = "#include <errno.h>\nint flock(int file, int how) { errno = ENOSYS; return -1; }\n"


@pytest.fixture
def without_flock(tmp_path):
    """Environment of a process whose files lie where there are no locks; its temporary files are this test's."""
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, for a library in which flock fails")
    (tmp_path / "noflock.c").write_text(NO_FLOCK)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "no.so", tmp_path / "noflock.c"], check=True)
    (tmp_path / "temporary").mkdir()
    return os.environ | {"LD_PRELOAD": str(tmp_path / "no.so"), "TMPDIR": str(tmp_path / "temporary")}


def test_without_locks_a_second_run_on_this_machine_is_refused_and_a_warning_names_the_rest(tmp_path, without_flock):
    """A file system without `flock` (Lustre as it is mounted at many sites) is no other run."""
    code = HOLD + "; print('held', flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    run = tmp_path / "run"
    with subprocess.Popen([sys.executable, "-c", code, run], env=without_flock, **pipes) as holder:
        assert holder.stdout.readline() == "held\n"
        second = subprocess.run([sys.executable, "-c", HOLD, run], env=without_flock, capture_output=True, text=True)
        assert f"is held by another run (found process {holder.pid} on " in second.stderr
        other = [sys.executable, "-c", HOLD, tmp_path / "other"]
        assert subprocess.run(other, env=without_flock, capture_output=True).returncode == 0
        warned = holder.communicate("\n")[1]
    assert "this file system has no locks; a second start is noticed on" in warned
    assert subprocess.run([sys.executable, "-c", HOLD, run], env=without_flock, capture_output=True).returncode == 0


def test_pools_are_started_one_at_a_time_without_locks_too(tmp_path, without_flock):
    code = (
        "import sys, time; from pathlib import Path; from blush.cluster.lock import one_at_a_time\n"
        "with one_at_a_time(Path(sys.argv[1]) / 'lock'):\n"
        "    print(time.monotonic()); time.sleep(0.5); print(time.monotonic())"
    )
    both = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path], env=without_flock, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    spans = sorted([float(time) for time in process.communicate()[0].split()] for process in both)
    assert spans[0][1] <= spans[1][0]


def test_a_run_whose_folder_cannot_be_made_is_refused_in_one_message(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(BlushError, match=r"to go\n.*results/run/.lock: cannot be written: .*; make room or give"):
        hold_run(tmp_path / "results" / "run")
