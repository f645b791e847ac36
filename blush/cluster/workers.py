"""Starting and replacing the workers of a pool, on this machine or as SLURM jobs."""

import asyncio
import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from blush.cluster.resident import log_end, python_path

FAILURES_BEFORE_GIVING_UP = 3
_SECONDS_BETWEEN_SLURM_LOOKS = 5.0


class Workers(Protocol):
    """Keeps the wanted number of workers alive."""

    trouble: str | None
    """Why no worker can be had; None while there is hope."""

    async def top_up(self, joined: Collection[str]) -> None:
        """Replace what has ended; `joined` names the workers that the scheduler knows."""

    def end(self) -> None:
        """End every worker."""


def worker_environment(threads: int) -> dict[str, str]:
    """Environment of a worker: this package, a fixed number of threads, reproducible cuBLAS."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "PYTHONPATH": python_path(),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def worker_command(folder: Path, name: str, scratch: str | None, interface: str | None = None) -> list[str]:
    """Command line of one worker."""
    command = [sys.executable, "-m", "blush.cluster.worker", str(folder), name]
    for option, value in (("--scratch", scratch), ("--interface", interface)):
        command += [option, value] if value else []
    return command


class LocalWorkers:
    """Processes of this machine, children of the pool that die with it.

    Parameters
    ----------
    folder
        Folder of the pool.
    devices
        For each worker its only GPU, or None.
    compute
        Section `compute` of the configuration.
    """

    def __init__(self, folder: Path, devices: Sequence[str | None], compute: Mapping[str, Any]) -> None:
        self.trouble: str | None = None
        self._folder, self._devices, self._compute = folder, devices, compute
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}
        self._ever_joined: set[str] = set()
        self._started = self._failures = 0

    async def top_up(self, joined: Collection[str]) -> None:
        """Replace workers that ended, from the main thread: a worker dies with the thread that started it."""
        self._ever_joined.update(joined)
        for index in range(len(self._devices)):
            name, process = self._running.get(index, ("", None))
            if process is not None:
                if process.poll() is None:
                    continue
                self._note_death(name, index)
            if self.trouble is None:
                self._start(index)

    def end(self) -> None:
        """Kill every worker: what it had not finished is not missed."""
        for _, process in self._running.values():
            process.kill()
        for _, process in self._running.values():
            process.wait()

    def _start(self, index: int) -> None:
        self._started += 1
        name = f"local-{index}-{self._started}"
        environment = worker_environment(self._compute["threads_per_worker"])
        environment["BLUSH_PARENT_PID"] = str(os.getpid())
        if (device := self._devices[index]) is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        with self._log(index).open("ab") as log:
            process = subprocess.Popen(
                worker_command(self._folder, name, self._compute["scratch"]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._running[index] = name, process

    def _note_death(self, name: str, index: int) -> None:
        """Count workers that never got as far as joining."""
        self._failures = 0 if name in self._ever_joined else self._failures + 1
        if self._failures >= FAILURES_BEFORE_GIVING_UP:
            self.trouble = f"workers end before they join; end of {self._log(index)}:\n{log_end(self._log(index))}"

    def _log(self, index: int) -> Path:
        return self._folder / f"worker-{index}.log"


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
    """

    def __init__(self, folder: Path, count: int, compute: Mapping[str, Any]) -> None:
        self.trouble: str | None = None
        self._folder, self._count, self._compute = folder, count, compute
        self._name = job_name(folder)
        self._submitted_since_join, self._looked = 0, -_SECONDS_BETWEEN_SLURM_LOOKS

    async def top_up(self, joined: Collection[str]) -> None:
        """Submit as many jobs as are neither pending nor running."""
        if time.monotonic() - self._looked >= _SECONDS_BETWEEN_SLURM_LOOKS:
            await asyncio.to_thread(self._look, joined)
            self._looked = time.monotonic()

    def _look(self, joined: Collection[str]) -> None:
        if joined:
            self._submitted_since_join = 0
        missing = self._count - self._alive()
        if missing > 0 and self._submitted_since_join >= FAILURES_BEFORE_GIVING_UP * self._count:
            self.trouble = f"SLURM jobs end before their workers join; end of the last log:\n{self._last_log()}"
        for _ in range(missing if self.trouble is None else 0):
            self._submit()

    def end(self) -> None:
        """Cancel every job of this pool."""
        subprocess.run(["scancel", "--name", self._name], check=False, capture_output=True)

    def _alive(self) -> int:
        """Jobs pending or running; a controller that does not answer leaves things as they are."""
        listed = subprocess.run(
            ["squeue", "-h", "-n", self._name, "-o", "%T"], capture_output=True, text=True, check=False
        )
        if listed.returncode != 0:
            return self._count
        return sum(state != "COMPLETING" for state in listed.stdout.split())

    def _submit(self) -> None:
        self._submitted_since_join += 1
        interface = self._compute["slurm"]["interface"]
        command = shlex.join(worker_command(self._folder, "slurm-JOB", self._compute["scratch"], interface))
        script = "exec " + command.replace("slurm-JOB", "slurm-$SLURM_JOB_ID")
        made = subprocess.run(
            ["sbatch", "--quiet", *self._options(), "--wrap", script],
            capture_output=True,
            text=True,
            check=False,
            env=worker_environment(self._compute["threads_per_worker"]),
        )
        if made.returncode != 0:
            self.trouble = f"sbatch refuses a worker: {made.stderr.strip()}; correct compute.slurm in the configuration"

    def _options(self) -> list[str]:
        slurm, log = self._compute["slurm"], self._folder / "worker-slurm-%j.log"
        options = ["-J", self._name, "-o", str(log), "-n1", "-c", str(self._compute["threads_per_worker"])]
        options += ["--mem", f"{round(self._compute['memory_gb'] * 1000)}M", "-t", str(slurm["minutes"])]
        for name in ("partition", "account", "gres"):
            if slurm[name]:
                options.append(f"--{name}={slurm[name]}")
        return [*options, *slurm["options"]]

    def _last_log(self) -> str:
        logs = sorted(self._folder.glob("worker-slurm-*.log"), key=lambda path: path.stat().st_mtime)
        return log_end(logs[-1]) if logs else "(none was written)"


def job_name(folder: Path) -> str:
    """Name of a pool's SLURM jobs: one folder, one name."""
    return "blush-" + hashlib.sha256(str(folder).encode()).hexdigest()[:10]
