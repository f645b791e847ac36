"""A run whose process has ended is told from one that is slow."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from blush.cluster.holder import holder_of
from blush.cluster.lock import hold_run

HOLD = (
    "import sys; from pathlib import Path; from blush.cluster.lock import hold_run; hold_run(Path(sys.argv[1]));"
    "print('held', flush=True); input()"
)


@pytest.fixture
def holder(tmp_path):
    """A process that holds the folder."""
    command = [sys.executable, "-c", HOLD, tmp_path]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_the_holder_lives_until_it_is_killed_though_nobody_has_waited_for_it(tmp_path, holder):
    assert str(holder_of(tmp_path)) == f"process {holder.pid} on {socket.gethostname()}"
    assert holder_of(tmp_path).lives is True
    os.kill(holder.pid, signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the list of processes
    assert holder_of(tmp_path).lives is False
    holder.wait()
    assert holder_of(tmp_path).lives is False


def test_a_stopped_holder_lives(tmp_path, holder):
    os.kill(holder.pid, signal.SIGSTOP)
    assert holder_of(tmp_path).lives is True


def test_the_number_of_a_process_that_is_younger_than_the_lock_says_nothing(tmp_path, holder):
    os.utime(tmp_path / ".lock", times=(time.time() - 3600, time.time() - 3600))
    assert holder_of(tmp_path).lives is False


def test_of_another_machine_nothing_is_known(tmp_path):
    (tmp_path / ".lock").write_text(f"process {os.getpid()} on another-machine\n")
    assert holder_of(tmp_path).lives is None


def test_a_folder_that_nobody_has_held_has_no_holder(tmp_path):
    assert holder_of(tmp_path) is None
    (tmp_path / ".lock").write_text("")
    assert holder_of(tmp_path) is None
    hold_run(tmp_path)
    assert holder_of(tmp_path).pid == os.getpid()
