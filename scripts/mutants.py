"""Plant faults in the numerics one by one and see which test notices: `python scripts/mutants.py [WORD ...]`.

`scripts/mutants.yaml` lists the faults; words choose those whose name, kind or file holds one of them. Each is made in
a scratch copy of the repository. The tests of its own file come first, then some that see most of its room, all of
the room, all of numerics, and all others; the first failure ends them. What was found is kept in a file, so that a run
that was ended goes on.

Exits with 1 if a mutant that leaks between the halves survives, or fewer than 95 of 100 are caught.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mutant_copy import Copy

ROOT = Path(__file__).resolve().parent.parent
LEAST_SHARE = 0.95
TIMEOUT_S = {"own": 240, "main": 300, "room": 600, "numerics": 1500, "rest": 3000}
"""By stage; tests that do not come to an end by then have noticed, as long as those of the plain copy do."""
NUMERIC_ROOMS = ("maximization", "refine", "expectation", "kernels", "regularise", "oracle", "truth")
NUMERIC_JOBS = (
    "test_expect", "test_denoise_and_trail", "test_converge", "test_reduce", "test_half_independence", "test_import",
    "test_planning", "test_layout", "test_start", "test_inputs", "test_memory", "test_subtract",
    "test_subtraction_source", "test_bodies", "test_helix_converge",
)  # fmt: skip
"""Of `tests/jobs`, the rest of which is about files, faults and programs."""
MAIN = {
    "bodies": ["tests/bodies/test_analyse.py", "tests/bodies/test_evidence.py"],
    "expectation": [
        "tests/expectation/test_shard.py::test_every_sum_is_that_of_the_formulas_over_all_poses",
        "tests/expectation/test_competition.py",
        "tests/expectation/test_fixed.py",
    ],
    "kernels": ["tests/expectation/test_sparse.py"],
    "maximization": ["tests/jobs/test_denoise_and_trail.py"],
    "denoise": ["tests/regularise/test_blush.py"],
    "regularise": ["tests/regularise/test_driver.py", "tests/regularise/test_contract.py"],
    "helix": ["tests/jobs/test_helix_converge.py"],
    "io": ["tests/io/test_filaments.py", "tests/io/test_check_inputs.py"],
    "refine": ["tests/refine/test_convergence.py", "tests/refine/test_outputs.py"],
    "validate": ["tests/jobs/test_finish.py"],
    "jobs": ["tests/jobs/test_half_independence.py", "tests/jobs/test_converge.py"],
}
"""By room, the tests that see most of it."""
NOT_NUMERIC = ("house", "docs", "config", "workflow", "cluster", "emdb", "io")
KINDS = {
    "leak": "one half learns of the other",
    "sign": "sign or conjugate",
    "factor": "factor, unit or normalisation",
    "shell": "shell off by some, wrong range",
    "threshold": "threshold or limit",
    "frame": "axes, rotations, symmetry",
    "ctf": "CTF, MTF, noise of a group",
    "prior": "prior",
    "weight": "weights exchanged or left out",
    "rows": "rows, groups, order",
    "dropped": "step left out",
}


@dataclass(frozen=True)
class Mutant:
    """One fault: what stands in a file below `blush/`, once, and what is put there."""

    file: str
    kind: str
    name: str
    old: str
    new: str

    @property
    def room(self) -> str:
        """Folder below `blush/`, and of its tests below `tests/`."""
        return self.file.split("/")[0]

    def planted(self, text: str) -> str:
        """The file's text with the fault.

        Raises
        ------
        SystemExit
            If the file has changed so that it cannot be planted, or is no Python with it.
        """
        if text.count(self.old) != 1:
            raise SystemExit(f"{self.name}: {text.count(self.old)} places in {self.file} hold {self.old!r}, not one")
        changed = text.replace(self.old, self.new)
        compile(changed, self.file, "exec")
        return changed


def mutants() -> list[Mutant]:
    """All of the list, in its order."""
    tree = yaml.safe_load((ROOT / "scripts" / "mutants.yaml").read_text(encoding="utf-8"))
    found = [
        Mutant(file, kind, name, *change)
        for file, kinds in tree.items()
        for kind, faults in kinds.items()
        for name, change in faults.items()
    ]
    if unknown := {mutant.kind for mutant in found} - KINDS.keys():
        raise SystemExit(f"scripts/mutants.yaml: unknown kinds {', '.join(sorted(unknown))}")
    if twice := [name for name, count in Counter(mutant.name for mutant in found).items() if count > 1]:
        raise SystemExit(f"scripts/mutants.yaml: names given twice: {', '.join(twice)}")
    for mutant in found:
        mutant.planted((ROOT / "blush" / mutant.file).read_text(encoding="utf-8"))
    return found


def stages(mutant: Mutant) -> dict[str, list[str]]:
    """Test files by stage, each in one stage alone."""
    everything = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("*/test_*.py"))
    stem = mutant.file.split("/")[-1].removesuffix(".py")
    jobs = [f"tests/jobs/{name}.py" for name in NUMERIC_JOBS]
    room = jobs if mutant.room == "jobs" else [f for f in everything if f.startswith(f"tests/{mutant.room}/")]
    numerics = [f for name in NUMERIC_ROOMS for f in everything if f.startswith(f"tests/{name}/")]
    wanted = {
        "own": [f for f in everything if f.startswith(f"tests/{mutant.room}/test_{stem}")],
        "main": MAIN[mutant.room],
        "room": room,
        "numerics": [*numerics, *jobs],
        "rest": [f for f in everything if f.split("/")[1] not in NOT_NUMERIC],
    }
    seen: set[str] = set()
    parts = {}
    for stage, files in wanted.items():
        parts[stage] = [f for f in dict.fromkeys(files) if f.split("::")[0] in everything and f not in seen]
        seen.update(parts[stage])
    return parts


def try_one(copy: Copy, mutant: Mutant, stage: str) -> str:
    """The test of a stage that notices a fault, or nothing."""
    files = stages(mutant)[stage]
    if not files:
        return ""
    path = copy.root / "blush" / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.planted(text), encoding="utf-8")
    try:
        return copy.failure(files, TIMEOUT_S[stage])
    finally:
        path.write_text(text, encoding="utf-8")


class Results:
    """What is known about every mutant, in a file; only what still holds is taken from it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self.tests = _digest(*(p.read_bytes() for p in sorted((ROOT / "tests").rglob("*.py"))))
        self.source = _digest(*(p.read_bytes() for p in sorted((ROOT / "blush").rglob("*.py"))))

    def test(self, mutant: Mutant) -> str:
        """The test that caught it, as far as neither the fault nor that test has changed."""
        record = self.known.get(mutant.name, {})
        if not record.get("test") or record["fault"] != _fault(mutant):
            return ""
        return record["test"] if record["test"] == "no end" or record["by"] == _source(record["test"]) else ""

    def survived(self, mutant: Mutant, stage: str) -> bool:
        """Whether it is known to pass the tests of this stage, as they are now."""
        record = self.known.get(mutant.name, {})
        return stage in record.get("passed", ()) and record["fault"] == _fault(mutant) and record["by"] == self.tests

    def add(self, mutant: Mutant, stage: str, test: str, seconds: float) -> None:
        """Note what a stage found, at once."""
        record = {"fault": _fault(mutant), "test": test, "stage": stage, "seconds": round(seconds, 1)}
        if test:
            self.known[mutant.name] = record | {"by": "" if test == "no end" else _source(test)}
        else:
            earlier = [s for s in TIMEOUT_S if self.survived(mutant, s)]
            self.known[mutant.name] = record | {"by": self.tests, "passed": [*earlier, stage]}
        self.save()

    def save(self) -> None:
        """Write the file beside and rename."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_suffix(".part")
        beside.write_text(json.dumps(self.known, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        beside.replace(self.path)


def _digest(*contents: bytes) -> str:
    return hashlib.sha256(b"\0".join(contents)).hexdigest()[:16]


def _fault(mutant: Mutant) -> str:
    source = (ROOT / "blush" / mutant.file).read_bytes()
    return _digest(mutant.old.encode(), mutant.new.encode(), source)


def _source(test: str) -> str:
    """Digest of a test function, of its whole file where it is not at its top level, and of nothing if it is gone."""
    file, _, name = test.partition("::")
    path = ROOT / file
    if not path.exists():
        return "gone"
    text = path.read_text(encoding="utf-8")
    wanted = [f for f in ast.parse(text).body if isinstance(f, ast.FunctionDef) and f.name == name.split("[")[0]]
    return _digest((ast.unparse(wanted[0]) if wanted else text).encode())


def check_plain(copy: Copy, results: Results, chosen: Sequence[Mutant], stage: str) -> None:
    """The tests of a stage must pass without a fault, or they say nothing."""
    files = sorted({f for mutant in chosen for f in stages(mutant)[stage]})
    key = f"plain {stage} {_digest(*(f.encode() for f in files))}"
    state = [results.source, results.tests]
    if not files or results.known.get(key) == state:
        return
    if test := copy.failure(files, 2 * TIMEOUT_S[stage] + 600):
        raise SystemExit(f"without any fault, stage {stage}: {test}")
    results.known[key] = state
    results.save()


def run(chosen: Sequence[Mutant], results: Results, last: str) -> None:
    """Try the mutants, stage by stage, those that survived one in the next."""
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        copy = Copy(ROOT, Path(folder))
        for stage in list(TIMEOUT_S)[: list(TIMEOUT_S).index(last) + 1]:
            todo = [m for m in chosen if not results.test(m) and not results.survived(m, stage)]
            if todo:
                check_plain(copy, results, todo, stage)
            for mutant in todo:
                begin = time.monotonic()
                test = try_one(copy, mutant, stage)
                results.add(mutant, stage, test, time.monotonic() - begin)
                print(f"{stage:9}{'caught' if test else '-':7}{mutant.file:32}{mutant.name:56}{test}", flush=True)


def table(chosen: Sequence[Mutant], results: Results) -> str:
    """Markdown: by kind, how many were planted and caught, and where the test that caught them lies."""
    head = ("Kind", "Planted", "Caught", "by tests of the same file", "of the same room", "of other rooms")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    total: Counter[str] = Counter()
    for kind, text in KINDS.items():
        counts: Counter[str] = Counter()
        for mutant in (m for m in chosen if m.kind == kind):
            test, stem = results.test(mutant), mutant.file.split("/")[-1].removesuffix(".py")
            counts["planted"] += 1
            counts["caught"] += bool(test)
            own, room = test.startswith(f"tests/{mutant.room}/test_{stem}"), test.startswith(f"tests/{mutant.room}/")
            counts["own" if own else "room" if room else "other" if test else "none"] += 1
        total.update(counts)
        lines.append(_row(text, counts))
    return "\n".join([*lines, _row("all", total)])


def _row(text: str, counts: Counter[str]) -> str:
    numbers = (counts[name] for name in ("planted", "caught", "own", "room", "other"))
    return f"| {text} | {' | '.join(str(number) for number in numbers)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the chosen mutants, print a table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", help="in the name, kind or file of the mutants to try; none: all")
    parser.add_argument("--results", type=Path, default=ROOT / "results" / "mutants.json")
    parser.add_argument("--last", choices=list(TIMEOUT_S), default="rest", help="the last stage of tests to run")
    given = parser.parse_args(arguments)
    chosen = [m for m in mutants() if not given.words or any(w in f"{m.name} {m.kind} {m.file}" for w in given.words)]
    if not chosen:
        raise SystemExit(f"no mutant's name, kind or file holds any of: {', '.join(given.words)}")
    results = Results(given.results)
    run(chosen, results, given.last)
    print(f"\n{table(chosen, results)}\n")
    survivors = [m for m in chosen if not results.test(m)]
    for mutant in survivors:
        print(f"survived: {mutant.file}: {mutant.name}")
    leaks = sum(mutant.kind == "leak" for mutant in survivors)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} caught; {leaks} that leak between the halves survived")
    return int(leaks > 0 or len(survivors) > (1 - LEAST_SHARE) * len(chosen))


if __name__ == "__main__":
    sys.exit(main())
