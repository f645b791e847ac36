# How a run is stopped by Ctrl-C, which reaches Snakemake and the steps that it runs at once.
import itertools
import logging
import os
import signal
import threading

from snakemake.logging import logger

STOPPED = threading.Event()
OVER = threading.Event()
PRESSED = itertools.count()
# A step may end of it, and Snakemake tell that as an error, before Snakemake itself has taken notice.
GRACE_S = 0.5
TRY_AGAIN_S = 0.05


class WhileNotStopped(logging.Filter):
    """Snakemake's words on the terminal until the user stops it: that steps end then is no error."""

    def filter(self, record):
        if record.levelno >= logging.ERROR:
            STOPPED.wait(GRACE_S)
        return not STOPPED.is_set()


# Only the terminal's handler: the log file keeps every word. Included before terminal.smk, whose filter tells of steps
# that failed: filters are asked in the order in which they were added.
for handler in logger.handlers:
    if handler.name == "DefaultStreamHandler":
        handler.addFilter(WhileNotStopped())


def begin_listening():
    """Take Ctrl-C as a wish, not as an error.

    The kernel may give a signal to any thread, and the main one, where Python acts on it, then sleeps on. So the
    numbers of signals go to a thread as well, which wakes the main one.
    """
    signal.signal(signal.SIGINT, stop_at_once)
    signal.signal(signal.SIGALRM, stop_if_nothing_breaks)
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write)
    threading.Thread(target=listen, args=(read,), daemon=True).start()


def listen(signals):
    """Have the main thread stop, as soon as it is where that breaks nothing."""
    while os.read(signals, 1) != bytes([signal.SIGINT]):
        pass
    STOPPED.set()
    while not OVER.wait(TRY_AGAIN_S):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)


def stop_at_once(number, frame):
    """Only the second Ctrl-C does: the first waits."""
    if next(PRESSED) > 0:
        raise KeyboardInterrupt


def stop_if_nothing_breaks(number, frame):
    """Leave the loop that starts jobs and waits for them, if Snakemake is there and nowhere deeper.

    An exception that is raised in the middle of a coroutine leaves an event loop that cannot be closed.
    """
    while frame.f_back is not None and frame.f_globals.get("__name__") == "threading":
        frame = frame.f_back
    its_module = frame.f_globals.get("__name__", "")
    if (
        frame.f_code.co_name == "schedule"
        and its_module.startswith("snakemake.")
        and not OVER.is_set()
    ):
        OVER.set()
        raise KeyboardInterrupt


def end_listening():
    """No job runs any more.

    Returns
    -------
    `"stopped; "` if the user stopped the run, else nothing.
    """
    OVER.set()
    return "stopped; " if STOPPED.is_set() else ""
