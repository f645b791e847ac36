# What a refinement or classification shows on the terminal: how to follow it, what failed, what it found.
import atexit
import logging
import os
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


class OnTerminal(logging.Filter):
    """Which of Snakemake's words the terminal shows: few under `blush run`."""

    # Said of every step that failed, and told in other words here.
    REPEATED = (
        "CalledProcessError",
        "Exiting because a job",
        "At least one job did not",
    )

    def filter(self, record):
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


SHOWING = ExitStack()
# Only the console's handler: the log file keeps every word.
for handler in logger.handlers:
    if handler.name == "DefaultStreamHandler":
        handler.addFilter(OnTerminal())


def begin_showing():
    """Say how to follow the run, and show its progress where Snakemake's own words are not shown."""
    if PLAIN:
        SHOWING.enter_context(followed(RUN_CONFIG.run_dir))
        atexit.register(SHOWING.close)  # or the terminal would keep its cursor hidden
    else:
        say(following(RUN_CONFIG.run_dir))


def end_showing():
    """No more progress."""
    SHOWING.close()
