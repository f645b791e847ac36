"""Faults of a refinement under Snakemake: of its rules, pool and workers, here or on a SLURM of this machine."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from fault_between import BETWEEN
from fault_runs import ROOT, Bench, Setup, configure, digests, nothing, progress, small_files

WORKFLOW_KINDS = (
    "kill worker", "kill pool", "kill rule", "kill snakemake", "stop worker", "stop pool", "cancel snakemake",
    "terminate worker", "start twice", "late log folder", "disk full", *BETWEEN,
)  # fmt: skip
SLURM_KINDS = (
    "scancel worker", "drain node", "time limit", "kill worker", "kill pool", "kill snakemake", "requeue worker",
    "cancel snakemake",
)  # fmt: skip
PATTERNS = {"worker": "blush.cluster.worker", "pool": "blush.cluster.pool", "rule": "blush "}
LIMIT_S = 300


class Workflow:
    """`snakemake --profile local|slurm` in a folder."""

    def __init__(self, place: Path, way: str, setup: Setup = nothing) -> None:
        self.place, self.way = place, way
        self.log = place / f"said{len(list(place.glob('said*')))}.txt"
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--profile"]
        command += [str(ROOT / "profiles" / way), "--configfile", "run.yaml"]
        command += ["--cores", "4"] if way == "local" else []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with self.log.open("w") as stream:
            self.process = subprocess.Popen(
                command,
                cwd=place,
                stdout=stream,
                stderr=stream,
                env=os.environ | {"PATH": path},
                start_new_session=True,
                preexec_fn=setup,
            )

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process.poll() is None

    def ended(self) -> tuple[int | None, str]:
        """Wait for its end, or end it after a limit; what it said."""
        try:
            code: int | None = self.process.wait(LIMIT_S)
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
        return found


def slurm_jobs(place: Path) -> list[str]:
    """Running SLURM jobs whose working folder is in a place."""
    said = subprocess.run(["squeue", "-h", "-o", "%A %Z %o"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in said.splitlines() if str(place) in line]


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


def _on_slurm(run: Workflow, kind: str) -> str:
    jobs: list[str] = []
    while run.alive() and not jobs:
        jobs = slurm_jobs(run.place)
        time.sleep(0.2)
    if not jobs:
        return "ended before it could happen"
    if kind == "scancel worker":
        command = ["scancel", jobs[0]]
    elif kind == "requeue worker":
        command = ["scontrol", "requeue", jobs[0]]
    elif kind == "time limit":
        command = ["scontrol", "update", f"JobId={jobs[0]}", "TimeLimit=0-00:01:00"]
    else:
        command = ["scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=blush-faults"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"{kind} of job {jobs[0]} after {progress(run.place)} lines ({done.stderr.strip() or 'done'})"


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
    if kind in ("scancel worker", "requeue worker", "time limit", "drain node"):
        return _on_slurm(run, kind)
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
    what, undo = BETWEEN[kind](bench, run.place, rng)
    return Workflow(run.place, run.way), f"{what}, {when}", undo


def workflow_fault(bench: Bench, way: str, kind: str, seed: int, number: int, start: Path | None) -> dict[str, object]:
    """One fault of a run under Snakemake, judged by its bytes in the end."""
    rng = random.Random(f"{seed} {number} {way} {kind}")
    if start is not None:
        subprocess.run([str(start)], check=True, stdout=subprocess.DEVNULL)  # repairs what the fault before left
    place = bench.place(f"{way}{number:03d}")
    compute: dict[str, object] = {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "workers": 2}
    if way == "slurm":
        compute["slurm"] = {"partition": "cpu", "minutes": 10}
    own = Path(shutil.copytree(bench.particles, place / "particles")) if kind in BETWEEN else bench.particles
    configure(place, own, compute=compute)
    started, undo = time.monotonic(), None
    if kind == "disk full":
        limit, undo = rng.choice([20_000, 60_000, 130_000]), nothing
        run, what = Workflow(place, way, small_files(limit)), f"no file over {limit} bytes can be written"
    else:
        run = Workflow(place, way)
        if kind in BETWEEN:
            run, what, undo = _between(run, kind, rng, bench)
        else:
            what = _inject(run, kind, rng)
    verdict, said = _judged(run, way, bench, undo)
    if kind == "drain node":
        subprocess.run(["scontrol", "update", "NodeName=n1", "State=RESUME"], check=False)
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
        if "Traceback" in said:
            return "traceback", said[-2000:]
        if undo is not None and code > 0:
            if "blush: " not in said.replace("blush: warning", ""):
                return "no message", said[-2000:]
            told = said[-2000:]
            undo()
        if attempt < 3:
            run = Workflow(run.place, way)
    return "no remedy", said[-2000:]
