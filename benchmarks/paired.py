"""Refine a benchmark set with Blush and with RELION 3.1.3, one after the other, and print both beside the oracle.

    python benchmarks/paired.py SET [--blush auto expert] [--relion expert nomask] [--set refinement.max_iterations=20]

Filaments start from `filaments.STARTS`: give `--blush auto --relion`, and run `peer.py SET filament` beside it.
Modes of Blush: auto (mask made from its own maps), expert (the true mask), sphere. Of RELION: expert and nomask, see
`peer.py`; a finished RELION run is read again unless --again is given, because it costs the most. Blush's results go to
SET/blush_MODE/result.json. Run nothing else meanwhile: CPU seconds rise with the load of the machine.
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
from compare import aligned_resolution_angst, compare_with_truth, final_resolution_angst, last_iteration, oracle
from filament_truth import compared
from filaments import start_of

COLUMNS = (
    ("cpu_seconds", "CPU s", "{:.0f}"),
    ("wall_seconds", "wall s", "{:.0f}"),
    ("iterations", "it.", "{:d}"),
    ("reported_resolution_angst", "reported Å", "{:.2f}"),
    ("fsc05_truth_masked_angst", "FSC½ true Å", "{:.2f}"),
    ("aligned_angst", "aligned Å", "{:.2f}"),
    ("fsc05_truth_unmasked_angst", "unmasked Å", "{:.2f}"),
    ("median_angle_error_deg", "angle °", "{:.2f}"),
    ("median_angle_error_aligned_deg", "aligned °", "{:.2f}"),
    ("share_within_10_deg", "within 10°", "{:.2f}"),
    ("median_offset_error_angst", "shift Å", "{:.2f}"),
)


def configuration(folder: Path, settings: dict, mode: str, changes: dict[str, Any]) -> dict:
    """Run configuration of Blush that matches the options of `peer.py`."""
    content: dict[str, Any] = {
        "name": f"blush_{mode}",
        "output": str(folder),
        "particles": str(folder / settings["particles"]),
        "reference": str(folder / settings["reference"]),
        "mask": str(folder / settings["mask"]) if mode == "expert" else mode,
        "particle_diameter_angst": settings["particle_diameter_angst"],
        "symmetry": settings["symmetry"],
        "initial_lowpass_angst": settings["initial_lowpass_angst"],
    }
    if "helix" in settings:
        content |= {"job": "helix", "mask": "auto", "helix": start_of(settings)}
    for key, value in changes.items():
        target, *rest = key.split(".")
        if rest:
            content.setdefault(target, {})[rest[0]] = value
        else:
            content[target] = value
    return content


def run_blush(folder: Path, settings: dict, mode: str, changes: dict[str, Any]) -> dict:
    """Refine from the beginning and compare; exit where Blush fails."""
    out = folder / f"blush_{mode}"
    shutil.rmtree(out, ignore_errors=True)
    config = folder / f"blush_{mode}.yaml"
    config.write_text(yaml.safe_dump(configuration(folder, settings, mode, changes)))
    log = folder / f"blush_{mode}.log"
    load, begun, before = os.getloadavg(), time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w") as stream:
        verb = "run" if "helix" in settings else "refine"
        command = [str(Path(sys.executable).parent / "blush"), verb, str(config)]
        status = subprocess.run(command, stdout=stream, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(f"blush refine failed with status {status}; see {log}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = {
        "set": settings["name"],
        "program": "blush",
        "mode": mode,
        "changes": changes,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "wall_seconds": time.time() - begun,
        "load_before": load,
        "load_after": os.getloadavg(),
        "iterations": last_iteration(out),
        "reported_resolution_angst": final_resolution_angst(out / "run_model.star"),
    }
    if "helix" in settings:
        found = json.loads((out / "summary.json").read_text())["helix"]
        result |= {key: found[key] for key in ("rise_angst", "twist_deg", "slope_error_deg_per_angst")}
        result |= compared(folder, out / "run_data.star", out / "run_class001.mrc")
    elif settings["truth"]:
        result |= compare_with_truth(folder, settings, out / "run_class001.mrc", out / "run_data.star")
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    return result


def run_relion(folder: Path, mode: str, again: bool) -> dict:
    """Result of RELION, from its files where they exist."""
    found = folder / f"relion_{mode}" / "result.json"
    if again or not found.exists():
        subprocess.run([sys.executable, str(Path(__file__).parent / "peer.py"), str(folder), mode], check=True)
    return json.loads(found.read_text())


def table(results: list[tuple[str, dict]]) -> str:
    """One line per run, of what each has."""
    head = ["", *(title for _, title, _ in COLUMNS)]
    rows = [[name, *(form.format(r[key]) if key in r else "" for key, _, form in COLUMNS)] for name, r in results]
    widths = [max(len(line[k]) for line in [head, *rows]) for k in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in [head, *rows]]
    return "\n".join(lines)


def ratios(results: list[tuple[str, dict]]) -> str:
    """CPU seconds of RELION over those of Blush, for every pair of runs."""
    ours = [(name, r) for name, r in results if r.get("program") == "blush"]
    peers = [(name, r) for name, r in results if r.get("program", "").startswith("relion")]
    pairs = [(a, b, y["cpu_seconds"] / x["cpu_seconds"]) for a, x in ours for b, y in peers]
    return "\n".join(f"CPU seconds, {peer} / {name}: {ratio:.2f}" for name, peer, ratio in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--blush", nargs="*", default=["auto"], choices=["auto", "expert", "sphere"])
    parser.add_argument("--relion", nargs="*", default=["expert"], choices=["expert", "nomask"])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="changes to Blush's configuration")
    parser.add_argument("--again", action="store_true", help="run RELION even where its result exists")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    settings = json.loads((folder / "set.json").read_text())
    changes = {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in chosen.set)}
    results = [(f"blush {mode}", run_blush(folder, settings, mode, changes)) for mode in chosen.blush]
    results += [(f"relion {mode}", run_relion(folder, mode, chosen.again)) for mode in chosen.relion]
    if "helix" in settings:
        print(json.dumps(dict(results), indent=1))
        return
    if settings["truth"]:
        for name, result in results:
            result["aligned_angst"] = aligned_resolution_angst(folder, settings, folder / name.replace(" ", "_"))
        results.append(("oracle", oracle(folder, settings)))
    print(table(results), ratios(results), sep="\n")


if __name__ == "__main__":
    main()
