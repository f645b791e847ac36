"""Faults of a refinement under Snakemake: of its rules, pool and workers, here or on a SLURM of this machine."""

import fcntl
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from fault_between import BETWEEN
from fault_runs import ROOT, Bench, Setup, configure, digests, nothing, progress, small_files
from fault_slurm import ON_JOBS, late_input, on_slurm, slurm_jobs, upgraded_tree, wrong_partition

WORKFLOW_KINDS = (
    "kill worker", "kill pool", "kill rule", "kill snakemake", "stop worker", "stop pool", "cancel snakemake",
    "terminate worker", "start twice", "late log folder", "disk full", *BETWEEN,
)  # fmt: skip
OWN_FRAME = re.compile(r'File "[^"]*/blush/')
"""A traceback through this program; interrupted, Snakemake often ends in one of its own, and continues all the same."""
PATTERNS = {"worker": "blush.cluster.worker", "pool": "blush.cluster.pool", "rule": "blush "}


class Workflow:
    """`snakemake --profile local|slurm` in a folder, of the Blush in a tree."""

    limit_s = 300.0

    def __init__(self, place: Path, way: str, setup: Setup = nothing, tree: Path = ROOT) -> None:
        self.place, self.way = place, way
        self.log = place / f"said{len(list(place.glob('said*')))}.txt"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(tree / "workflow/Snakefile"), "--profile"]
        command += [str(tree / "profiles" / way), "--configfile", "run.yaml"]
        command += ["--cores", "4"] if way == "local" else []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=place,
                stdout=stream,
                stderr=stream,
                env=os.environ | {"PATH": path, "PYTHONPATH": str(tree)},
                start_new_session=True,
                preexec_fn=setup,
            )

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def ended(self) -> tuple[int | None, str]:
        """Wait for its end, or end it after a limit; what it said."""
        try:
            code: int | None = self.process.wait(self.limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            code = None
        return code, self.log.read_text(encoding="utf-8", errors="replace")

    def members(self, what: str) -> list[int]:
        """Processes of this run alone: those that have its folder on their command line."""
        if what == "snakemake":
            return [self.process.pid]
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(self.place) in line and PATTERNS[what] in line and int(entry.name) != os.getpid():
                found.append(int(entry.name))
        return [pid for pid in found if _parent(pid) not in found]  # not those that only tell of another


def _parent(pid: int) -> int | None:
    """Parent of a process; None where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def _signal(run: Workflow, kind: str, rng: random.Random) -> str:
    action, what = kind.split()
    number = {"kill": 9, "terminate": 15, "stop": 19, "cancel": 2}[action]
    victims: list[int] = []
    while run.alive() and not victims:
        victims = run.members(what)
        time.sleep(0.05)
    if not victims:
        return "ended before it could happen"
    os.kill(rng.choice(victims), number)
    return f"{kind} after {progress(run.place)} lines of progress"


def _wait(run: Workflow, rng: random.Random) -> None:
    """Let a run go on to a random moment."""
    wanted = rng.randrange(1, 25)
    while run.alive() and progress(run.place) < wanted:
        time.sleep(0.02)
    time.sleep(rng.random() * 0.5)


def _inject(run: Workflow, kind: str, rng: random.Random) -> str:
    """Wait for a random moment of the run and do what the kind says."""
    _wait(run, rng)
    if kind == "start twice":
        code, said = Workflow(run.place, run.way).ended()
        refused = code != 0 and "running already" in said
        return "second start " + ("refused" if refused else f"ended with {code}")
    if kind == "late log folder":
        shutil.rmtree(run.place / "results/run/logs", ignore_errors=True)
        return "folder of logs removed"
    if kind in ON_JOBS:
        while run.alive() and not slurm_jobs(run.place):
            time.sleep(0.2)
        return on_slurm(run.place, kind) if run.alive() else "ended before it could happen"
    return _signal(run, kind, rng)


def _between(run: Workflow, kind: str, rng: random.Random, bench: Bench) -> tuple[Workflow, str, Setup | None]:
    """Kill a run that has started, all of it, do what the kind says, and start it again."""
    while run.alive() and not (run.place / "results/run/it000/state.json").exists():
        time.sleep(0.02)
    _wait(run, rng)
    if run.alive():
        run.process.kill()
    run.process.wait()
    for what in ("rule", "worker", "pool"):
        for process in run.members(what):
            os.kill(process, signal.SIGKILL)
    while any(run.members(what) for what in ("rule", "worker", "pool")):
        time.sleep(0.05)
    when = f"after {progress(run.place)} lines of progress"
    if kind == "upgraded package":
        tree = upgraded_tree(run.place)
        return Workflow(run.place, run.way, tree=tree), f"a Blush of other results, {when}", nothing
    what, undo = BETWEEN[kind](bench, run.place, rng)
    return Workflow(run.place, run.way), f"{what}, {when}", undo


def workflow_fault(bench: Bench, way: str, kind: str, seed: int, number: int, start: Path | None) -> dict[str, object]:
    """One fault of a run under Snakemake, judged by its bytes in the end."""
    rng = random.Random(f"{seed} {number} {way} {kind}")
    if start is not None:
        with (bench.work / "start.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([str(start)], check=True, stdout=subprocess.DEVNULL)  # repairs what other faults left
    place = bench.place(f"{way}{number:03d}")
    compute: dict[str, object] = {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "workers": 2}
    if way == "slurm":
        compute["slurm"] = {"partition": "cpu", "minutes": 10}
    has_own = kind in BETWEEN or kind == "late input"
    own = Path(shutil.copytree(bench.particles, place / "particles")) if has_own else bench.particles
    configure(place, own, compute=compute)
    started, undo = time.monotonic(), None
    if kind == "disk full":
        limit, undo = rng.choice([20_000, 60_000, 130_000]), nothing
        run, what = Workflow(place, way, small_files(limit)), f"no file over {limit} bytes can be written"
    elif kind in ("late input", "wrong partition"):
        undo = late_input(place, rng) if kind == "late input" else wrong_partition(place, own)
        run, what = Workflow(place, way), kind
    else:
        run = Workflow(place, way)
        if kind in BETWEEN or kind == "upgraded package":
            run, what, undo = _between(run, kind, rng, bench)
        else:
            what = _inject(run, kind, rng)
    verdict, said = _judged(run, way, bench, undo)
    for process in run.members("pool") + run.members("worker"):
        os.kill(process, signal.SIGKILL)
    if verdict in ("unharmed", "continued", "told"):
        shutil.rmtree(place, ignore_errors=True)
    seconds = round(time.monotonic() - started, 1)
    shown = f"{'SLURM' if way == 'slurm' else 'Snakemake'}: {kind}"
    return {"number": number, "kind": shown, "what": what, "verdict": verdict, "said": said, "seconds": seconds}


def _judged(run: Workflow, way: str, bench: Bench, undo: Setup | None) -> tuple[str, str]:
    """Verdict on a run, and what it said: the same command is given up to three more times.

    Parameters
    ----------
    undo
        Takes the cause of a fault away that has to be told; such a fault is passed only where it was.
    """
    told = ""
    for attempt in range(4):
        code, said = run.ended()
        if code == 0:
            if digests(run.place) != bench.reference:
                return "differs in silence", told
            return "told" if told else "unharmed" if attempt == 0 else "continued", told
        if code is None:
            return "hung", said[-2000:]
        if "Traceback" in said and OWN_FRAME.search(said):
            return "traceback", said[-2000:]
        if undo is not None and code > 0:
            if "blush: " not in said.replace("blush: warning", ""):
                return "no message", said[-2000:]
            told = said[-2000:]
            undo()
        if attempt < 3:
            run = Workflow(run.place, way)
    return "no remedy", said[-2000:]
