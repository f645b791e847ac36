"""Refine low-SNR sets of held-out molecules with a network and its rivals, and say whether it helps, and how surely.

    python benchmarks/in_loop.py OUT SETS --weights W.safetensors [--regularisers wiener nonuniform blush] [--seeds 1 2]
        [--set regulariser.starts=local --label _local]

SETS holds what `make_sets.py` wrote (NAME for seed 1, NAME_seedN for others). Differences to Wiener are paired by set
and seed of the noise; their interval over these pairs is Student's. A run whose result.json is there is not run again.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np
import yaml
from compare import aligned_resolution_angst
from regularisers import refine, table
from scipy import stats

LEARNED = ("blush", "localwiener")
NAMES = ("lowsnr", "micelle", "preferredlow", "soluble99", "soluble81", "nucleic88")


def folder_of(sets: Path, name: str, seed: int) -> Path:
    return sets / (name if seed == 1 else f"{name}_seed{seed}")


def run(chosen: argparse.Namespace, name: str, regulariser: str, seed: int) -> dict:
    """Result of one refinement; learned ones get the weights and the changed settings."""
    folder = folder_of(chosen.sets, name, seed)
    settings = json.loads((folder / "set.json").read_text())
    changes = {"compute.workers": 1}
    label = regulariser
    if regulariser in LEARNED:
        if chosen.weights:
            changes |= {f"regulariser.{regulariser}.weights": str(chosen.weights.resolve())}
        if regulariser == "blush":
            changes |= {"regulariser.blush.stride_px": 32}
        changes |= {key: yaml.safe_load(value) for key, value in (item.split("=", 1) for item in chosen.set)}
        label += chosen.label
    target = f"{name}_{label}_{seed}"
    result = refine(folder.resolve(), settings, chosen.out.resolve(), target, regulariser, seed, changes)
    box = json.loads((folder / "simulation.json").read_text())["settings"]["imaging"]
    width = box["box_px"] * box["pixel_size_angst"]
    aligned = aligned_resolution_angst(folder, settings, chosen.out / target)
    return result | {"set": name, "aligned_angst": aligned, "shell": width / aligned}


def interval(values: list[float]) -> str:
    """Mean and Student's 95 % interval."""
    array = np.array(values)
    if len(array) < 2:
        return f"{array.mean():+.2f}"
    reach = stats.t.ppf(0.975, len(array) - 1) * array.std(ddof=1) / math.sqrt(len(array))
    return f"{array.mean():+.2f} [{array.mean() - reach:+.2f}, {array.mean() + reach:+.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--names", nargs="+", default=list(NAMES))
    parser.add_argument("--regularisers", nargs="+", default=["wiener", "nonuniform", "blush"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the runs with weights")
    parser.add_argument("--label", default="", help="added to the names of those runs")
    parser.add_argument("--finished", action="store_true", help="only compare what is there; run nothing")
    chosen = parser.parse_args()
    found: dict[tuple[str, int, str], dict] = {}
    for seed in chosen.seeds:
        for name in chosen.names:
            for regulariser in chosen.regularisers:
                label = regulariser + (chosen.label if regulariser in LEARNED else "")
                if chosen.finished and not (chosen.out / f"{name}_{label}_{seed}" / "result.json").exists():
                    continue
                result = run(chosen, name, regulariser, seed)
                found[name, seed, regulariser] = result
                print(
                    f"{name} {seed} {regulariser}: true {result['aligned_angst']:.2f} Å "
                    f"({result['fsc05_truth_masked_angst']:.2f} unaligned), "
                    f"{result['median_angle_error_aligned_deg']:.2f}°, {result['cpu_seconds']:.0f} CPU s", flush=True
                )  # fmt: skip
    print(table([(f"{regulariser}", result) for (_, _, regulariser), result in sorted(found.items())]))
    for regulariser in chosen.regularisers:
        pairs = [
            (found[n, s, "wiener"], r)
            for (n, s, g), r in found.items()
            if g == regulariser != "wiener" and (n, s, "wiener") in found
        ]
        if not pairs:
            continue
        shells = [mine["shell"] - wiener["shell"] for wiener, mine in pairs]
        angles = [mine["median_angle_error_aligned_deg"] - w["median_angle_error_aligned_deg"] for w, mine in pairs]
        print(f"{regulariser} over Wiener: true resolution {interval(shells)} shells (more is better), "
              f"pose error {interval(angles)}° (less is better), {len(pairs)} pairs of runs")  # fmt: skip
        for name in chosen.names:
            mine = [shell for shell, (_, r) in zip(shells, pairs, strict=True) if r["set"] == name]
            print(f"    {name}: {', '.join(f'{value:+.1f}' for value in mine)} shells")


if __name__ == "__main__":
    main()
