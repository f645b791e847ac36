"""Workers that are SLURM jobs: submitting, counting and ending them, and what SLURM's refusals mean."""

import asyncio
import hashlib
import shlex
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from blush.cluster.hearts import read_processor_seconds
from blush.cluster.resident import log_end
from blush.cluster.workers import FAILURES_BEFORE_GIVING_UP, explicit_environment, worker_command
from blush.errors import BlushError, Problem

_SECONDS_BETWEEN_LOOKS = 5.0
_PATIENCE_SECONDS = 600.0
"""How long sbatch may go on refusing for a cause that passes."""
_PASSING = (
    "unable to contact slurm controller",
    "socket timed out",
    "timed out",
    "connection refused",
    "connection reset",
    "communication connection failure",
    "zero bytes were transmitted",
    "temporarily",
    "try again",
    "submitlimit",
    "submit limit",
    "maxsubmit",
    "too many jobs",
    "maximum number of jobs",
    "backup controller",
    "standby mode",
)
"""Words of refusals that pass by themselves; any other stays until the configuration or the cluster is changed."""
_UNSURE = "node configuration is not available"
"""What `--test-only` says where no node will do, and where those that would are down for the moment."""
_USUAL_REASONS = {"None", "Priority", "Resources", "BeginTime", "Cleaning"}
_REMEDY = "correct compute.slurm in the configuration"


class SlurmJobs:
    """SLURM jobs, one worker each, found again by their name.

    Parameters
    ----------
    folder
        Folder of the pool, on a file system that the nodes share.
    count
        Workers wanted.
    compute
        Section `compute` of the configuration.
    say
        Takes a line for the user.
    """

    def __init__(self, folder: Path, count: int, compute: Mapping[str, Any], say: Callable[[str], None]) -> None:
        self.trouble: str | None = None
        self._folder, self._count, self._compute, self._say = folder, count, compute, say
        self._name = job_name(folder)
        self._running: set[str] = set()
        self._told_reasons: set[str] = set()
        self._submitted_since_join, self._looked = 0, -_SECONDS_BETWEEN_LOOKS
        self._refused_since: float | None = None

    async def top_up(self, joined: Collection[str]) -> None:
        """Submit as many jobs as are neither pending nor running."""
        if time.monotonic() - self._looked >= _SECONDS_BETWEEN_LOOKS:
            await asyncio.to_thread(self._look, joined)
            self._looked = time.monotonic()

    def started(self) -> list[str]:
        """Names of the workers whose jobs run."""
        return sorted(self._running)

    def processor_time(self, name: str) -> float | None:
        """Seconds that a worker has computed, as a process beside it on its node writes them."""
        return read_processor_seconds(time_file(self._folder, name))

    async def end_one(self, name: str) -> None:
        """End a worker that hangs: killed first, since one that is merely cancelled is continued before it ends."""
        job = name.removeprefix("slurm-")
        for options in (["--full", "--signal=KILL"], []):
            await asyncio.to_thread(_slurm, ["scancel", *options, job])
        self._running.discard(name)

    def end(self) -> None:
        """Cancel every job of this pool."""
        _slurm(["scancel", "--name", self._name])

    def _look(self, joined: Collection[str]) -> None:
        if joined:
            self._submitted_since_join = 0
        missing = self._count - self._alive()
        if missing > 0 and self._submitted_since_join >= FAILURES_BEFORE_GIVING_UP * self._count:
            self.trouble = f"SLURM jobs end before their workers join; end of the last log:\n{self._last_log()}"
        for _ in range(missing):
            if self.trouble is not None or not self._submit():
                return

    def _alive(self) -> int:
        """Jobs pending or running; a controller that does not answer leaves things as they are."""
        listed = _slurm(["squeue", "-h", "-n", self._name, "-o", "%i %T %r"])
        if listed.returncode != 0:
            return self._count
        rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
        states = {row[0]: row[1] for row in rows}
        for reason in {row[2] for row in rows if row[1] == "PENDING"} - _USUAL_REASONS - self._told_reasons:
            self._told_reasons.add(reason)
            self._say(f"SLURM lets a worker wait: {reason}")
        self._running = {f"slurm-{job}" for job, state in states.items() if state == "RUNNING"}
        return sum(state != "COMPLETING" for state in states.values())

    def _submit(self) -> bool:
        """Ask for one more worker; whether that was granted."""
        made = _slurm(submission(self._folder, self._compute))
        if made.returncode == 0:
            self._submitted_since_join += 1
            self._refused_since = None
            return True
        words, now = made.stderr.strip(), time.monotonic()
        if not passes(words):
            self.trouble = f"sbatch refuses a worker: {words}; {_REMEDY}"
        elif self._refused_since is None:
            self._refused_since = now
            self._say(f"sbatch takes no worker for now, it is asked again for {_PATIENCE_SECONDS / 60:g} min: {words}")
        elif now - self._refused_since > _PATIENCE_SECONDS:
            self.trouble = f"sbatch has taken no worker for {_PATIENCE_SECONDS / 60:g} min: {words}"
        return False

    def _last_log(self) -> str:
        logs = sorted(self._folder.glob("worker-slurm-*.log"), key=lambda path: path.stat().st_mtime)
        return log_end(logs[-1]) if logs else "(none was written)"


def check_submission(folder: Path, compute: Mapping[str, Any]) -> None:
    """Ask sbatch, without submitting anything, whether it would take a worker.

    Raises
    ------
    BlushError
        If it refuses for good: a partition, account, limit or option that is not to be had.
    """
    asked = _slurm(submission(folder, compute, "--test-only"))
    words = asked.stderr.strip()
    if asked.returncode != 0 and not passes(words) and _UNSURE not in words:
        raise BlushError("SLURM takes no worker of this run", [Problem(f"sbatch says: {words}", _REMEDY)])


def passes(words: str) -> bool:
    """Whether a refusal is one that passes by itself."""
    return any(passing in words.lower() for passing in _PASSING)


def submission(folder: Path, compute: Mapping[str, Any], *options: str) -> list[str]:
    """Command line that asks for one worker.

    The job's script names interpreter and variables itself, so that it does not matter what a site's sbatch hands on.
    """
    slurm, log = compute["slurm"], folder / "worker-slurm-%j.log"
    asked = ["-J", job_name(folder), "-o", str(log), "-n1", "-c", str(compute["threads_per_worker"])]
    asked += ["--mem", f"{round(compute['memory_gb'] * 1000)}M", "-t", str(slurm["minutes"])]
    asked += [f"--{name}={slurm[name]}" for name in ("partition", "account", "gres") if slurm[name]]
    variables = [f"{name}={value}" for name, value in explicit_environment(compute["threads_per_worker"]).items()]
    command = worker_command(folder, "slurm-JOB", compute["scratch"], slurm["interface"], tell_time=True)
    script = shlex.join(["exec", "env", *variables, *command]).replace("slurm-JOB", 'slurm-"$SLURM_JOB_ID"')
    return ["sbatch", "--quiet", *options, *asked, *slurm["options"], "--wrap", script]


def time_file(folder: Path, name: str) -> Path:
    """Where the processor time of a worker of another machine is told."""
    return folder / f"worker-{name}.time"


def job_name(folder: Path) -> str:
    """Name of a pool's SLURM jobs: one folder, one name."""
    return "blush-" + hashlib.sha256(str(folder).encode()).hexdigest()[:10]


def _slurm(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Call a program of SLURM; one that is not installed has refused."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")
