"""A tiny refinement that faults are put to: its files, its stages to begin from, its commands, its digest."""

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
LAST = 3
STAGES = ("imported", "started", "second", "shards", "sums", "maps", "ended")
RESULTS = ("*.mrc", "*.star", "*.bild", "it*/state.json", "it*/poses.npz", "it*/maps.npz", "postprocess/*.mrc")
Setup = Callable[[], None]


def nothing() -> None:
    """Leave a process as it is."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int | None  # None: it had to be ended
    said: str

    @property
    def told(self) -> bool:
        """Whether it refused with one message of its own instead of a traceback."""
        own = [line for line in self.said.splitlines() if line.startswith("blush: ") and "warning:" not in line]
        return self.code not in (0, None) and len(own) == 1 and "Traceback" not in self.said


class Process:
    """`blush refine run.yaml --quiet` in a fork of this process, which spares it the import of torch."""

    def __init__(self, place: Path, setup: Setup = nothing) -> None:
        self.log = place / f"said{len(list(place.glob('said*')))}.txt"
        self.pid = os.fork()
        if self.pid == 0:
            _become(["refine", "run.yaml", "--quiet"], place, self.log, setup)

    def alive(self) -> bool:
        """Whether it still runs."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def ended(self, limit_s: float = 120.0) -> Ended:
        """Wait for its end; end it after a limit."""
        end = time.monotonic() + limit_s
        while self.alive() and time.monotonic() < end:
            time.sleep(0.01)
        late = self.alive()
        if late:
            os.kill(self.pid, 9)
        _, status = os.waitpid(self.pid, 0)
        code = None if late else os.waitstatus_to_exitcode(status)
        return Ended(code, self.log.read_text(encoding="utf-8", errors="replace"))


def _become(arguments: list[str], place: Path, log: Path, setup: Setup) -> None:
    """Run a command in this forked process and end it."""
    code = 70
    try:
        os.setsid()
        os.chdir(place)
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        for stream in (1, 2):
            os.dup2(handle, stream)
        sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        setup()
        sys.argv = ["blush", *arguments]
        from blush.cli.main import main

        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1 if ended.code else 0
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 1
    finally:
        sys.stderr.flush()
        os._exit(code)


class Bench:
    """A folder with particles, stages of a refinement, and room for one folder per fault."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.particles = work / "particles"
        self.reference: dict[str, str] = {}

    def prepare(self) -> None:
        """Simulate particles, refine them undisturbed, and keep the stages on the way; another seed's run too."""
        simulation = {
            "imaging": {"n_particles": 48, "box_px": 32, "pixel_size_angst": 6.5, "particles_per_micrograph": 12},
            "noise": {"snr": 0.3},
            "output": str(self.particles),
        }
        (self.work / "simulate.yaml").write_text(yaml.safe_dump(simulation), encoding="utf-8")
        blush = [sys.executable, "-m", "blush"]
        subprocess.run([*blush, "simulate", str(self.work / "simulate.yaml")], check=True, stdout=subprocess.DEVNULL)
        for name, seed in (("stages", 1), ("other", 2)):
            place = self.place(name, seed=seed)
            child = os.fork()
            if child == 0:
                _walk(place)
            if os.waitpid(child, 0)[1] != 0:
                raise RuntimeError(f"the stages could not be made; see {place}")
        whole = self.place("undisturbed")
        ended = Process(whole).ended()
        if ended.code != 0:
            raise RuntimeError(f"the undisturbed run failed: {ended.said}")
        self.reference = digests(whole)

    def place(self, name: str, stage: str | None = None, **changes: object) -> Path:
        """A folder with a configuration, and a run folder as it was at a stage."""
        place = self.work / name
        place.mkdir()
        configure(place, self.particles, **changes)
        if stage is not None:
            shutil.copytree(self.work / "stages" / stage, place / "results/run")
        return place


def configure(place: Path, particles: Path, **changes: object) -> None:
    """Write the configuration of the tiny refinement, with changes."""
    content = {
        "name": "run",
        "particles": str(particles / "particles.star"),
        "reference": str(particles / "reference.mrc"),
        "particle_diameter_angst": 170,
        "symmetry": "D4",
        "sampling": {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 2},
        "refinement": {"max_iterations": LAST},
        "compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "workers": 2},
        "output": "results",
    }
    (place / "run.yaml").write_text(yaml.safe_dump(content | changes), encoding="utf-8")


def _walk(place: Path) -> None:
    """Refine step by step in this forked process, keep the run folder at each stage, and end."""
    os.chdir(place)
    from blush.config import load_config
    from blush.jobs import steps

    config = load_config("run.yaml")
    run = config.run_dir

    def keep(stage: str) -> None:
        shutil.copytree(run, place / stage)

    code = 1
    try:
        steps.import_run(config)
        keep("imported")
        steps.start(run)
        keep("started")
        for n in range(1, LAST + 1):
            for half in steps.subsets(run):
                for shard in range(steps.shards(run, half)):
                    steps.expectation_shard(run, n, half, shard)
                    if (n, half, shard) == (LAST, 2, 0):
                        keep("shards")
                steps.reduce_subset(run, n, half)
            if n == LAST:
                keep("sums")
            steps.denoise_and_trail(run, n)
            if n == LAST:
                keep("maps")
            steps.converge(run, n)
            if n == LAST - 1:
                keep("second")
        keep("ended")
        code = 0
    finally:
        os._exit(code)


def digests(place: Path) -> dict[str, str]:
    """SHA-256 of every result of a run, its own folder's name aside; the summary without its times."""
    run = place / "results/run"
    found = {}
    for pattern in RESULTS:
        for path in run.glob(pattern):
            content = path.read_bytes().replace(str(place).encode(), b"PLACE")
            found[str(path.relative_to(run))] = hashlib.sha256(content).hexdigest()
    summary = run / "summary.json"
    if summary.is_file():
        content = json.loads(summary.read_text(encoding="utf-8"))
        content.pop("timing", None)
        found["summary.json"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return found


def small_files(limit_bytes: int) -> Setup:
    """Let a process write no file beyond a size, as a disk that is full."""

    def setup() -> None:
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, resource.RLIM_INFINITY))

    return setup


def upgraded() -> None:
    """Make this process that of a Blush whose results differ."""
    from blush.jobs import settings, shards
    from blush.refine import state

    for module in (settings, shards, state):
        module.ALGORITHM_VERSION += 1


def progress(place: Path) -> int:
    """Lines that a run has logged."""
    path = place / "results/run/progress.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0
