# What a refinement or classification shows on the terminal: how to follow it, what failed, what it found.
import atexit
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path

from blush.cli.watch import followed
from blush.report.closing import following, tell_results
from snakemake.common import NOTHING_TO_BE_DONE_MSG
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

# `blush run` sets it: progress as `blush refine` shows it, and Snakemake's own words in its log file alone.
PLAIN = os.environ.get("BLUSH_TERMINAL") == "plain"
LOG_LINES = 15


def say(text):
    """One message, after whatever Snakemake has said."""
    sys.stdout.flush()
    sys.stderr.write(f"blush: {text}\n")
    sys.stderr.flush()


class OnTerminal(logging.Filter):
    """Which of Snakemake's words the terminal shows: none once the user has stopped it, and few under `blush run`."""

    is_stopped = False
    # Said of every step that failed, and told in other words here.
    REPEATED = (
        "CalledProcessError",
        "Exiting because a job",
        "At least one job did not",
    )

    def filter(self, record):
        if self.is_stopped:
            return False
        text = record.getMessage()
        if text == NOTHING_TO_BE_DONE_MSG and not only_looks():
            tell_found()  # no hook of Snakemake is called then
        if not PLAIN:
            return True
        if getattr(record, "event", None) == LogEvent.JOB_ERROR:
            tell_failure(record)
        elif text.startswith("Trying to restart"):
            say("the step is tried again")
        is_new = not any(words in text for words in self.REPEATED)
        return (
            is_new
            and record.levelno >= logging.ERROR
            and not hasattr(record, "rule_name")
        )


def tell_found():
    """Say what the run found, where the whole of it was asked for."""
    if any(job.rule.name == "all" for job in workflow.dag.targetjobs):
        tell_results(RUN_CONFIG.run_dir)


def tell_failure(record):
    """Say which step failed, and the end of its log."""
    logs = [Path(log) for log in record.log or () if Path(log).is_file()]
    say(
        f"the step {record.rule_name} failed"
        + "".join(f"; the end of {log}:" for log in logs)
    )
    for log in logs:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        sys.stderr.write("".join(f"  {line}\n" for line in lines[-LOG_LINES:]))


ON_TERMINAL = OnTerminal()
SHOWING = ExitStack()
# Only the console's handler: the log file keeps every word.
for handler in logger.handlers:
    if handler.name == "DefaultStreamHandler":
        handler.addFilter(ON_TERMINAL)


def stop_on_request(number, frame):
    """Ctrl-C reaches the steps as well: that they end is no error, and Snakemake is not to tell it as one."""
    ON_TERMINAL.is_stopped = True
    raise KeyboardInterrupt


def begin_showing():
    """Say how to follow the run, and show its progress where Snakemake's own words are not shown."""
    signal.signal(signal.SIGINT, stop_on_request)
    if PLAIN:
        SHOWING.enter_context(followed(RUN_CONFIG.run_dir))
        atexit.register(SHOWING.close)  # or the terminal would keep its cursor hidden
    else:
        say(following(RUN_CONFIG.run_dir))


def end_showing():
    """No more progress."""
    SHOWING.close()
