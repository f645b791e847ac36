"""A step dies with the workflow that started it; one that a user started does not."""

import os
import signal
import subprocess
import sys

import pytest
from cluster_helpers import alive, until

CHILD = "from blush.cluster.parent import die_with_parent; die_with_parent(); print('ready', flush=True); input()"


@pytest.mark.parametrize(("variable", "dies"), [("BLUSH_PARENT_PID", True), ("SOMETHING_ELSE", False)])
def test_a_process_that_names_its_parent_dies_with_it(variable, dies):
    """The parent is a shell that is killed while its child waits for input."""
    script = f"export {variable}=$$; '{sys.executable}' -c \"{CHILD}\" <&3 & echo $!; wait"
    reading, writing = os.pipe()
    shell = subprocess.Popen(["bash", "-c", f"exec 3<&{reading}; {script}"], stdout=subprocess.PIPE, pass_fds=[reading])
    with shell:
        child = int(shell.stdout.readline())
        assert shell.stdout.readline() == b"ready\n"
        shell.send_signal(signal.SIGKILL)
        shell.wait()
        if dies:
            until(lambda: not alive(child))
        else:
            assert alive(child)
            os.write(writing, b"\n")
            until(lambda: not alive(child))
    os.close(reading)
    os.close(writing)


def test_a_parent_that_is_gone_already_is_noticed():
    environment = {**os.environ, "BLUSH_PARENT_PID": "1"}
    ended = subprocess.run([sys.executable, "-c", CHILD], env=environment, check=False, stdin=subprocess.DEVNULL)
    assert ended.returncode == -signal.SIGKILL
