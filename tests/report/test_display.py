"""Progress on terminals of three widths, and in a pipe."""

import fcntl
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
from dataclasses import replace

import pytest

from blush.io.files import write_json
from blush.report.display import PIPE_SECONDS, Display
from blush.report.watch import Status

PATIENCE_SECONDS = 120.0
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")
AT_WORK = Status(
    iteration=3, stage="expectation", done=30, total=120, seconds_left=90.0, silent_seconds=0.0,
    refined=False, finished=False, classifies=False, gave_up=False,
)  # fmt: skip


def on_terminal(columns, arguments, until=None, folder=None):
    """Run the command on a terminal; what it wrote there, up to Ctrl-C where `until` appears."""
    master, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "blush", *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=environment | {"TERM": "xterm-256color"},
    )
    os.close(terminal)
    patience = threading.Timer(PATIENCE_SECONDS, process.kill)
    patience.start()
    written = b""
    while True:
        try:
            more = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        written += more
        if until is not None and written.count(until.encode()) >= 3:
            process.send_signal(signal.SIGINT)
            until = None
    patience.cancel()
    os.close(master)
    process.wait(60)
    return written.decode()


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_lines_that_stay_are_no_wider_than_the_terminal(finished_run, columns):
    text = CONTROL.sub("", on_terminal(columns, ["watch", finished_run]))
    lines = [line for line in text.splitlines() if line.strip()]
    paths = [line.strip() for line in lines if str(finished_run) in line]  # whole, so that they can be copied
    assert max(len(line) for line in lines if line.strip() not in paths) <= columns
    assert [line[:6] for line in lines if line.startswith("it ")] == ["it 001", "it 002", "it 003"]
    assert "accuracy 1.33° 0.67 Å" in " ".join(text.split())
    assert paths[-1].split()[-1] == f"{finished_run}/report.html"


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_line_that_changes_stays_one_line(running, columns):
    """Every time it is written anew, the line is wiped first and no other is begun; the cursor comes back."""
    text = on_terminal(columns, ["watch", running, "--interval", 0.05], until="it 002 waiting")
    frames = text.count("it 002 waiting")
    assert frames >= 3
    assert text.count("\x1b[2K") >= frames - 1
    after = text[text.index("it 002 waiting") :]
    assert after.count("\n") <= 2  # at the end alone
    bars = [CONTROL.sub("", part) for part in re.split(r"\x1b\[2K|\n", text) if "━" in part]
    assert max(map(len, bars)) <= columns - len("^C")  # which a terminal adds at the end
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")


def test_a_pipe_gets_a_line_at_times_without_escape_codes(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with Display() as display:
        for second in range(4 * int(PIPE_SECONDS)):
            clock[0] = float(second)
            display.change(replace(AT_WORK, done=min(second, 120)))
        display.keep("it 003    8.00 Å")
    told = [f"it 003 expectation  {done}/120 particles" for done in (60, 120)]
    assert capsys.readouterr().out.splitlines() == [
        f"{told[0]}, 1 min 30 s left of this step",
        told[1],
        "it 003    8.00 Å",
    ]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_refusals_fit_the_terminal_and_every_line_of_them_keeps_its_place(tmp_path, columns):
    text = on_terminal(columns, ["init", "--yes"], folder=tmp_path)
    lines = [line for line in CONTROL.sub("", text).splitlines() if line.strip()]
    assert max(map(len, lines)) <= columns
    assert lines[0].startswith("blush: nothing was written")
    assert [line.split(":")[0] for line in lines if line.startswith("  --")] == [
        "  --particles",
        "  --reference",
        "  --diameter",
    ]
    assert all(line.startswith("  ") for line in lines[1:])
    assert "--reference: Initial map, of any box and pixel size; none was found" in " ".join(text.split())


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_list_of_runs_fits_the_terminal(finished_run, tmp_path, columns):
    shutil.copytree(finished_run, tmp_path / "results/done")
    write_json(tmp_path / "results/done/settings.json", {"job": "refine"})
    (tmp_path / "results/done/.lock").write_text("process 1 on elsewhere\n")
    text = CONTROL.sub("", on_terminal(columns, ["status"], folder=tmp_path))
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert max(map(len, lines)) <= columns
    words = " ".join(text.split())
    for word in ("results/done", "refine", "finished", "3", "7.50 Å", "ago"):
        assert word in words
    assert lines[0].split()[:2] == (["results/done"] if columns == 40 else ["run", "job"])
