#!/usr/bin/env python3
"""Is anything that a reader is given answered with a traceback, a hang, memory without measure, or a wrong value?

    scripts/fuzz.py [--cases 1000000] [--seed 1] [--reader NAME ...] [--out fuzz-failures]
    scripts/fuzz.py --reader NAME --replay FILE

Valid small files of every kind that the program reads, written by itself, are changed as a seed says and read again,
each reader in a process of its own that is watched from outside. Right is a value that keeps what is promised of it, or
a refusal (BlushError) that names the file. Cases that are anything else are made smaller and kept in --out, each with
the command that shows it again; then the status is 1. Equal seeds give equal cases, of one reader or of all.
"""

import argparse
import functools
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fuzz"))
os.environ.setdefault("OMP_NUM_THREADS", "1")

from fuzzing import campaign  # noqa: E402

COLLECTED = ROOT.parent / "shared" / "data" / "hostile"


def memory_folder() -> str | None:
    """Where files lie in memory, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def replay(plan: campaign.Plan, reader: str, path: Path) -> int:
    """Read one file as a case, tell what came of it, and give the exit status."""
    bench = campaign.Bench(plan, reader)
    try:
        verdict = bench.one(path.read_bytes())
    finally:
        bench.end()
    print(f"{verdict.kind}  {verdict.place}\n{verdict.text}".rstrip())
    return int(verdict.is_failure)


def main() -> int:
    """Run the campaign that the command line describes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--reader", action="append", default=[], help="only these, and their share of the cases")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--collected", type=Path, default=COLLECTED, help="folder of hostile files to begin with")
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--registry", default="fuzzing.registry", help="module whose READERS are tried")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # and leave nothing behind
    readers = __import__(options.registry, fromlist=["READERS"]).READERS
    for name in options.reader:
        if name not in readers:
            parser.error(f"no reader {name}; there are {', '.join(readers)}")
    chosen = {name: readers[name] for name in options.reader or readers}
    with tempfile.TemporaryDirectory(prefix="blush-fuzz-", dir=memory_folder()) as folder:
        collected = options.collected if options.collected.is_dir() else None
        tell = functools.partial(print, flush=True)
        plan = campaign.Plan(options.registry, options.seed, Path(folder), options.out, collected, tell=tell)
        if options.replay:
            return replay(plan, next(iter(chosen)), options.replay)
        begun = time.monotonic()
        print(campaign.HEAD)
        cases = campaign.shares(readers, options.cases)
        tallies = campaign.run(plan, chosen, {name: cases[name] for name in chosen})
    total = campaign.Tally("all", seconds=time.monotonic() - begun)
    for tally in tallies:
        total.kinds.update(tally.kinds)
        total.slowest = max(total.slowest, tally.slowest)
        for (kind, place), count in tally.places.most_common():
            print(f"  {tally.reader}: {count} x {kind}, {place}")
    print(campaign.line(total))
    return int(total.failures > 0)


if __name__ == "__main__":
    sys.exit(main())
