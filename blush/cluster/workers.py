"""Starting and replacing the workers of a pool on this machine; what every worker is started with."""

import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from blush.cluster.hearts import processor_seconds
from blush.cluster.resident import log_end, python_path

FAILURES_BEFORE_GIVING_UP = 3
_CARRIED = (
    "PATH", "LD_LIBRARY_PATH", "CXX", "XDG_CACHE_HOME", "CONDA_PREFIX", "VIRTUAL_ENV", "LANG", "LC_ALL"
)  # fmt: skip
_CARRIED_PREFIXES = ("PYTHON", "BLUSH_", "DASK_", "TORCH_")


class Workers(Protocol):
    """Keeps the wanted number of workers alive."""

    trouble: str | None
    """Why no worker can be had; None while there is hope."""

    async def top_up(self, joined: Collection[str]) -> None:
        """Replace what has ended; `joined` names the workers that the scheduler knows."""

    def started(self) -> list[str]:
        """Names of the workers that run, joined or not."""

    def processor_time(self, name: str) -> float | None:
        """Seconds of processor time of a worker; None where that cannot be known."""

    async def end_one(self, name: str) -> None:
        """End a worker that hangs, at once and for good."""

    def end(self) -> None:
        """End every worker."""


def worker_variables(threads: int) -> dict[str, str]:
    """What a worker's results rest on: this package, a fixed number of threads, reproducible cuBLAS."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **dict.fromkeys(names, str(threads)),
        "PYTHONPATH": python_path(),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    }


def explicit_environment(threads: int) -> dict[str, str]:
    """Variables that a worker of another machine is given by name, since that machine need not hand on any."""
    here = {
        name: value
        for name, value in os.environ.items()
        if name in _CARRIED or (name.startswith(_CARRIED_PREFIXES) and name != "BLUSH_PARENT_PID")
    }
    return here | worker_variables(threads)


def worker_command(
    folder: Path, name: str, scratch: str | None, interface: str | None = None, *, tell_time: bool = False
) -> list[str]:
    """Command line of one worker."""
    command = [sys.executable, "-P", "-m", "blush.cluster.worker", str(folder), name]
    for option, value in (("--scratch", scratch), ("--interface", interface)):
        command += [option, value] if value else []
    return [*command, "--tell-time"] if tell_time else command


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

    def started(self) -> list[str]:
        """Names of the workers that run."""
        return [name for name, process in self._running.values() if process.poll() is None]

    def processor_time(self, name: str) -> float | None:
        """Seconds of processor time of a worker."""
        process = self._process(name)
        return None if process is None else processor_seconds(process.pid)

    async def end_one(self, name: str) -> None:
        """Kill a worker, which ends one that is stopped as well."""
        if (process := self._process(name)) is not None:
            process.kill()

    def end(self) -> None:
        """Kill every worker: what it had not finished is not missed."""
        for _, process in self._running.values():
            process.kill()
        for _, process in self._running.values():
            process.wait()

    def _process(self, name: str) -> subprocess.Popen[bytes] | None:
        return next((process for known, process in self._running.values() if known == name), None)

    def _start(self, index: int) -> None:
        self._started += 1
        name = f"local-{index}-{self._started}"
        environment = {**os.environ, **worker_variables(self._compute["threads_per_worker"])}
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
