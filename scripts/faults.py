#!/usr/bin/env python3
"""Do refinements survive what happens to them? Seeded faults, each judged by the bytes that come out in the end.

    scripts/faults.py [--count 60] [--seed 1] [--kinds kill damage ...] [--jobs 2] [--out faults.json]

Refines 48 simulated particles of 32 px undisturbed, then again and again with one fault each: killed, stopped,
cancelled, files lost, late or damaged, the disk full, started twice, the settings, the input, the clock or the package
changed.
After a fault the same command is given again. A fault is passed where the results are the same bytes in the end, and
where they come only after a message, this has to be a single one without a traceback, after whose remedy (or once the
cause is gone) the same command finishes. Prints a table by kind and writes every fault to a JSON file. --workflow adds
faults of Snakemake's rules, workers and pool; --slurm START_SCRIPT adds those of a SLURM that this script starts.
"""

import argparse
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fault_kinds import KINDS, Fault
from fault_runs import Bench, Ended, Process, digests
from fault_slurm import SLURM_KINDS
from fault_workflow import WORKFLOW_KINDS, Workflow, workflow_fault

Row = dict[str, object]
PASSED = ("unharmed", "continued", "told")
FAILED = ("differs in silence", "traceback", "no message", "no remedy", "hung")
TRIES = 3


def remedied(said: str, place: Path) -> bool:
    """Do what a message asks for: remove what it names. Whether there was something to do."""
    named = re.findall(r"(?:remove|delete|removing|deleting) (?:the file |the folder |folder )?(/[^\s,;:]+)", said)
    run = place / "results/run"
    if re.search(r"(?:remove|delete) (?:that|this|the) (?:folder|run)|start a new run", said):
        named.append(str(run))
    done = False
    for path in map(Path, named):
        if not path.is_relative_to(place) or not path.exists():
            continue
        done = True
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return done


def judged(ended: Ended, place: Path, bench: Bench, fault: Fault) -> tuple[str, str]:
    """Verdict on a fault and what was said, from how the disturbed command ended."""
    told = ""
    for attempt in range(TRIES + 1):
        if ended.code == 0:
            if digests(place) != bench.reference:
                return "differs in silence", told
            return ("told" if told else "unharmed" if attempt == 0 else "continued"), told
        if ended.code is None:
            return "hung", ended.said[-2000:]
        if "Traceback" in ended.said:
            return "traceback", ended.said[-2000:]
        if ended.told:
            told = ended.said[-2000:]
            if fault.undo is not None:
                fault.undo()
            else:
                remedied(ended.said, place)
        elif ended.code > 0:
            return "no remedy", ended.said[-2000:]
        if attempt < TRIES:
            ended = Process(place).ended()
    return "no remedy", told


def one(number: int, kind: str, seed: int, bench: Bench) -> Row:
    """Inject one fault and judge it."""
    rng = random.Random(f"{seed} {number} {kind}")
    started = time.monotonic()
    fault = KINDS[kind](bench, f"fault{number:04d}", rng)
    verdict, said = judged(fault.ended, fault.place, bench, fault)
    if verdict in PASSED:
        shutil.rmtree(fault.place)
    seconds = round(time.monotonic() - started, 1)
    return {"number": number, "kind": kind, "what": fault.what, "verdict": verdict, "said": said, "seconds": seconds}


def share(numbers: range, fault: Callable[[int], Row], target: Path) -> None:
    """Some of the faults, in this process, one JSON line each."""
    with target.open("a", encoding="utf-8") as stream:
        for number in numbers:
            row = fault(number)
            stream.write(json.dumps(row) + "\n")
            stream.flush()
            print(f"{row['kind']:>10}  {row['verdict']:<18}  {row['what']}", flush=True)


def in_processes(count: int, jobs: int, fault: Callable[[int], Row], files: str) -> list[Row]:
    """All faults by number, dealt to forks of this process, each of which writes a file."""
    children, targets = [], [Path(f"{files}{job}.jsonl") for job in range(jobs)]
    for job, target in enumerate(targets):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                share(range(job, count, jobs), fault, target)
                code = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]  # all of them are waited for
    if any(codes):
        raise SystemExit(f"faults.py itself failed; see {files}*")
    rows = [json.loads(line) for target in targets for line in target.read_text(encoding="utf-8").splitlines()]
    return sorted(rows, key=lambda row: row["number"])


def table(rows: list[dict[str, object]]) -> str:
    """Counts by kind, as Markdown."""
    kinds = list(dict.fromkeys(str(row["kind"]) for row in rows))
    lines = ["| kind | faults | same bytes | told, then same bytes | failed |", "|---|---|---|---|---|"]
    for kind in [*kinds, "all"]:
        found = Counter(str(row["verdict"]) for row in rows if kind in (row["kind"], "all"))
        bad = ", ".join(f"{found[name]} {name}" for name in FAILED if found[name]) or "0"
        same = found["unharmed"] + found["continued"]
        lines.append(f"| {kind} | {sum(found.values())} | {same} | {found['told']} | {bad} |")
    return "\n".join(lines)


def _of_workflow(bench: Bench, way: str, kinds: list[str], seed: int, start: Path | None, number: int) -> Row:
    return workflow_fault(bench, way, kinds[number % len(kinds)], seed, number, start)


def main() -> int:
    """Run the faults that were asked for; 1 if one was not passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="faults of a refinement in one process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=list(KINDS))
    parser.add_argument("--jobs", type=int, default=2, help="faults at the same time")
    parser.add_argument("--workflow", type=int, default=0, help="faults under Snakemake and its local pool")
    parser.add_argument("--workflow-kinds", nargs="+", choices=WORKFLOW_KINDS, default=list(WORKFLOW_KINDS))
    parser.add_argument("--slurm", type=Path, help="script that starts a SLURM of this machine (root)")
    parser.add_argument("--slurm-count", type=int, default=8, help="faults on that SLURM")
    parser.add_argument("--slurm-kinds", nargs="+", choices=SLURM_KINDS, default=list(SLURM_KINDS))
    parser.add_argument("--slurm-jobs", type=int, default=1, help="faults at the same time on that SLURM")
    parser.add_argument("--limit-s", type=float, default=Workflow.limit_s, help="a workflow that takes longer has hung")
    parser.add_argument("--out", type=Path, help="write every fault to this JSON file")
    chosen = parser.parse_args()
    Workflow.limit_s = chosen.limit_s
    signal.signal(signal.SIGINT, signal.default_int_handler)  # who is started in the background ignores it otherwise
    work = Path(tempfile.mkdtemp(prefix="blush-faults."))
    bench = Bench(work)
    import blush.jobs.autorefine  # noqa: F401  -- with torch, once for all forks

    bench.prepare()
    kinds, seed = chosen.kinds, chosen.seed
    rows = in_processes(
        chosen.count, chosen.jobs, lambda n: one(n, kinds[n % len(kinds)], seed, bench), f"{work}/verdicts"
    )
    plans = [("local", chosen.workflow_kinds, chosen.workflow, None, 1)]
    if chosen.slurm:
        plans.append(("slurm", chosen.slurm_kinds, chosen.slurm_count, chosen.slurm, chosen.slurm_jobs))
    for way, kinds_, count, start, jobs in plans:
        fault = partial(_of_workflow, bench, way, kinds_, seed, start)
        rows += in_processes(count, jobs, fault, f"{work}/{way}")
    failed = [row for row in rows if row["verdict"] not in PASSED]
    print(table(rows))
    if chosen.out:
        chosen.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if failed:
        print(f"{len(failed)} of {len(rows)} faults were not passed; their folders are in {work}")
        return 1
    shutil.rmtree(work)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
