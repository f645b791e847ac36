"""Finding, starting and ending the resident process of a pool (`blush.cluster.pool`). Only the standard library."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import blush
from blush.cluster.lock import one_at_a_time
from blush.cluster.notices import note
from blush.errors import BlushError, Problem
from blush.io.json_text import parse_json, read_record

SILENCE_SECONDS = 30.0
"""A pool that says nothing for this long is replaced; it speaks every 5 s, and computes nothing itself."""
_ANNOUNCED = {"job_name": str, "host": str, "pid": int, "port": int, "settings": dict, "token": str}
"""Members of pool.json."""
_START_SECONDS = 120.0
_LOG_LINES = 15


class PoolGoneError(Exception):
    """The pool ended, or does not answer any more."""

    def __str__(self) -> str:
        return f"the worker pool went away {super().__str__()}"


@dataclass(frozen=True)
class Connection:
    """An open line to a pool: one request, then its answers."""

    stream: socket.socket
    token: str
    pid: int

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask.

        Raises
        ------
        PoolGoneError
            If nobody takes the request.
        """
        try:
            self.stream.sendall(json.dumps({"token": self.token, **request}).encode() + b"\n")
        except OSError as error:
            raise PoolGoneError(f"({type(error).__name__}: {error})") from None

    def answers(self) -> Iterator[dict[str, Any]]:
        """Lines until the pool closes the connection, or dies.

        Raises
        ------
        PoolGoneError
            If the pool is silent for too long.
        """
        try:
            with self.stream.makefile("rb") as lines:
                for line in lines:
                    answer = parse_json(line)
                    if "refused" in answer:
                        raise PoolGoneError(f"for this client: {answer['refused']}")
                    yield answer
        except ConnectionResetError:
            return
        except (OSError, ValueError) as error:
            raise PoolGoneError(f"({type(error).__name__}: {error})") from None


def pool_folder(run: Path) -> Path:
    """Where the files of a run's pool are."""
    return run.absolute() / ".pool"


def pool_settings(compute: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a pool the right one for a run: another kind, version or setting needs another pool."""
    kind = compute["pool"]
    if kind == "auto":
        kind = os.environ.get("BLUSH_POOL", "local")
    return {"kind": kind, "compute": dict(compute), "version": blush.__version__, "python": sys.executable}


def find_or_start(
    folder: Path, compute: Mapping[str, Any], *, owned: bool = False, lost: int | None = None
) -> Connection:
    """A connection to the right pool of a folder; clients that come at once find one pool.

    `lost` is the process of a pool that died or fell silent: unless another client has replaced it, it is ended.

    Raises
    ------
    PoolGoneError
        If the lost pool ended as it was asked to: nobody wants another.
    BlushError
        If no pool can be had.
    """
    settings = pool_settings(compute)
    with one_at_a_time(folder / "lock"):
        if lost is not None:
            _bury(folder, lost)
        return _find(folder, settings) or _start(folder, settings, owned)


def announced(folder: Path) -> dict[str, Any] | None:
    """What the pool of a folder last said about itself.

    Raises
    ------
    BlushError
        Where the file is damaged: which process it spoke of cannot be known, and two pools must never share devices.
    """
    path = folder / "pool.json"
    if not path.exists():
        return None
    remedy = f"end the process `blush.cluster.pool {folder}` if there is one (ps -ef), then remove this file"
    found = read_record(path, remedy)
    for name, kind in _ANNOUNCED.items():
        if not isinstance(found.get(name), kind) or isinstance(found[name], bool):
            problem = Problem(f"is not the address of a pool: {name} is missing or senseless", remedy, str(path))
            raise BlushError("cannot use the worker pool", [problem])
    if not (
        0 < found["port"] < 1 << 16 and 1 < found["pid"] < 1 << 22 and isinstance(found["settings"].get("kind"), str)
    ):
        problem = Problem("is not the address of a pool: its numbers are senseless", remedy, str(path))
        raise BlushError("cannot use the worker pool", [problem])
    return found


def connect(found: Mapping[str, Any]) -> Connection:
    """Open a line to an announced pool."""
    stream = socket.create_connection(("127.0.0.1", found["port"]), timeout=10)
    stream.settimeout(SILENCE_SECONDS)
    return Connection(stream, found["token"], found["pid"])


def end_pool(folder: Path, known: dict[str, Any] | None = None) -> None:
    """End a pool that is stopping, does not answer, or is not the right one: two must never share the devices.

    `known` is what it said about itself before; one that is stopping has taken that back, and may still be there.
    """
    found = known or announced(folder)
    if found is None:
        return
    if found["host"] == socket.gethostname():
        _end_process(found["pid"], folder)
    if found["settings"]["kind"] == "slurm":
        with suppress(OSError):
            subprocess.run(["scancel", "--name", found["job_name"]], check=False, capture_output=True)
    if (now := announced(folder)) is None or now["pid"] == found["pid"]:  # and not one that has come since
        (folder / "pool.json").unlink(missing_ok=True)


def log_end(path: Path) -> str:
    """Last lines of a log."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-_LOG_LINES:])
    except OSError as error:
        return f"({error})"


def python_path() -> str:
    """PYTHONPATH that finds this package first, however it was found here."""
    paths = [str(Path(blush.__file__).parents[1]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return os.pathsep.join(path for path in paths if path)


def _bury(folder: Path, lost: int) -> None:
    """End a pool that was lost, and say so, once for all its clients."""
    found = announced(folder)
    if found is None:
        raise PoolGoneError(f"as it was asked to; its log is {folder / 'pool.log'}")
    if found["pid"] == lost:
        note(
            folder,
            f"the worker pool (process {lost}) died, or has said nothing for {SILENCE_SECONDS:g} s: it is replaced, "
            "and the run goes on",
        )
        end_pool(folder)


def _find(folder: Path, settings: Mapping[str, Any]) -> Connection | None:
    """A connection to a live pool with these settings."""
    found = announced(folder)
    if found is None or found["settings"] != settings or found["host"] != socket.gethostname():
        return None
    # The port of one that was killed takes connections until the kernel has closed it, after all else has ended.
    if not _is_pool(found["pid"], folder):
        return None
    with suppress(OSError):
        return connect(found)
    return None


def _start(folder: Path, settings: Mapping[str, Any], owned: bool) -> Connection:
    """Start a pool, in a session of its own unless owned: it is to outlive this process and the workflow's death."""
    end_pool(folder)
    (folder / "settings.json").write_text(json.dumps(settings))
    pid = _spawn(folder, owned)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if connection := _find(folder, settings):
            return connection
        if os.waitpid(pid, os.WNOHANG)[0]:
            break
        time.sleep(0.05)
    else:
        os.kill(pid, signal.SIGKILL)
    log_file = folder / "pool.log"
    problem = Problem(f"it did not start; its log ends with\n{log_end(log_file)}", file=str(log_file))
    raise BlushError("no worker pool", [problem])


def _spawn(folder: Path, owned: bool) -> int:
    """Start the resident process, which nobody waits for."""
    environment = {**os.environ, "PYTHONPATH": python_path()}
    if owned:
        environment["BLUSH_PARENT_PID"] = str(os.getpid())
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-P", "-m", "blush.cluster.pool", str(folder)],
        environment,
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / "pool.log"), append, 0o666),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
        setsid=not owned,
    )


def _end_process(pid: int, folder: Path) -> None:
    """Terminate, then kill; local workers die with their pool."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for _ in range(30):
            if _is_pool(pid, folder):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            elif not _is_ending(pid):
                return
            time.sleep(0.1)


def _is_ending(pid: int) -> bool:
    """Whether a process has no memory left, and so no command, but may still hold its files and ports."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return not command and state not in "ZX"


def _is_pool(pid: int, folder: Path) -> bool:
    """Whether a process is this folder's pool: its number may belong to another one by now."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return b"blush.cluster.pool" in command and str(folder).encode() in command
