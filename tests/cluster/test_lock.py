"""One run at a time in a folder; the lock goes with its holder, however that ends."""

import os
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
