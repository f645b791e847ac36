"""Refine benchmark sets with several regularisers and seeds, alike but for the regulariser, and compare with the truth.

    python benchmarks/regularisers.py OUT SET [SET ...] --regularisers wiener nonuniform [--seeds 1 2 3]
        [--set regulariser.nonuniform.awf=1.5 refinement.max_iterations=20]

SETs are what `make_sets.py` writes; runs go to OUT/SET_REGULARISER_SEED. The solvent mask is the set's own, for all of
them. A run whose result.json is there is not run again, so that the table can be completed piece by piece; --set starts
runs under the further name --label.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml
from compare import compare_with_truth, final_resolution_angst, last_iteration

COLUMNS = (
    ("fsc05_truth_masked_angst", "FSC½ true Å", "{:.2f}"),
    ("reported_resolution_angst", "reported Å", "{:.2f}"),
    ("median_angle_error_aligned_deg", "angle °", "{:.2f}"),
    ("share_within_10_deg", "within 10°", "{:.2f}"),
    ("iterations", "it.", "{:d}"),
    ("cpu_seconds", "CPU s", "{:.0f}"),
)


def configuration(folder: Path, settings: dict, out: Path, name: str, chosen: str, seed: int, changes: dict) -> dict:
    """One run; `changes` are values by dotted name."""
    content: dict[str, Any] = {
        "name": name,
        "output": str(out),
        "particles": str(folder / settings["particles"]),
        "reference": str(folder / settings["reference"]),
        "mask": str(folder / settings["mask"]),
        "particle_diameter_angst": settings["particle_diameter_angst"],
        "symmetry": settings["symmetry"],
        "initial_lowpass_angst": settings["initial_lowpass_angst"],
        "regulariser": {"name": chosen},
        "seed": seed,
    }
    for key, value in changes.items():
        *sections, last = key.split(".")
        target = content
        for section in sections:
            target = target.setdefault(section, {})
        target[last] = value
    return content


def refine(folder: Path, settings: dict, out: Path, name: str, chosen: str, seed: int, changes: dict) -> dict:
    """Result of a run, read where it is there; exit where Blush fails."""
    run = out / name
    if (run / "result.json").exists():
        return json.loads((run / "result.json").read_text())
    shutil.rmtree(run, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    config = out / f"{name}.yaml"
    config.write_text(yaml.safe_dump(configuration(folder, settings, out, name, chosen, seed, changes)))
    begun, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with (out / f"{name}.log").open("w") as log:
        command = [str(Path(sys.executable).parent / "blush"), "refine", str(config)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        status = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode
    if status:
        raise SystemExit(f"blush refine failed with status {status}; see {out / name}.log")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "set": settings["name"],
        "regulariser": chosen,
        "seed": seed,
        "changes": changes,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_seconds": time.time() - begun,
        "iterations": last_iteration(run),
        "reported_resolution_angst": final_resolution_angst(run / "run_model.star"),
    } | compare_with_truth(folder, settings, run / "run_class001.mrc", run / "run_data.star")
    (run / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def table(results: list[tuple[str, dict]]) -> str:
    """One line per run, and one per regulariser and set with the means over its seeds."""
    head = ["set", "regulariser", "seed", *(title for _, title, _ in COLUMNS)]
    rows = [[r["set"], name, str(r["seed"]), *(form.format(r[key]) for key, _, form in COLUMNS)] for name, r in results]
    groups: dict[tuple[str, str], list[dict]] = {}
    for name, result in results:
        groups.setdefault((result["set"], name), []).append(result)
    for (of_set, name), group in groups.items():
        means = [sum(r[key] for r in group) / len(group) for key, _, _ in COLUMNS]
        cells = [form.replace(":d", ":.1f").format(mean) for (_, _, form), mean in zip(COLUMNS, means, strict=True)]
        rows.append([of_set, name, "mean", *cells])
    widths = [max(len(line[k]) for line in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *rows]]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--regularisers", nargs="+", default=["wiener", "nonuniform", "sidesplitter"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to the configuration")
    parser.add_argument("--label", default="", help="added to the names of runs with changes")
    chosen = parser.parse_args()
    if bool(chosen.set) != bool(chosen.label):
        parser.error("--set and --label belong together: results are found again by their name")
    changes = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in chosen.set)}
    results = []
    for folder in chosen.sets:
        settings = json.loads((folder / "set.json").read_text())
        for name in chosen.regularisers:
            for seed in chosen.seeds:
                label = f"{name}{chosen.label}"
                run = f"{folder.resolve().name}_{label}_{seed}"
                result = refine(folder.resolve(), settings, chosen.out.resolve(), run, name, seed, changes)
                results.append((label, result))
                print(run, *(f"{title} {form.format(result[key])}" for key, title, form in COLUMNS), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
