"""Classify a simulated mixture with Blush and with RELION 3.1.3 at the true poses, and measure both against the truth.

    python benchmarks/classify.py OUT SET [SET ...] [--seeds 1 2 3] [--json FILE]

SET is a folder of `make_sets.py`. Both programs start from its one reference, which is on the grey scale of the images,
keep the poses of truth.star, and have as many classes as there are; Blush otherwise runs with its defaults, RELION with
`--skip_align`, T = 4, 25 iterations, one thread. The oracle labels each image once by the true maps and the true
fractions: no program can do better but by luck. A seed is that of a program's first classes; the images of a set are
the same for all of them. CPU seconds are user and system time of a program's processes.

Printed: a line per run, and per set the mean of each program with the paired difference of adjusted Rand indices and
its 95 % interval over seeds (Student's t). Results are read again from OUT where they are; remove them to run anew.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scipy.stats import t as student

from blush.io.star import read_star, write_star
from blush.validate.partitions import adjusted_rand, calibration, contingency, matched, matched_accuracy

RELION_ITERATIONS = 25
HIDDEN = ("rlnClassNumber", "rlnRandomSubset", "blushClassName")
MEASURES = ("adjusted_rand", "accuracy", "calibration_error", "cpu_seconds")


class Mixture:
    """A set, and its particle table at the true poses without the true classes, in a folder of its own."""

    def __init__(self, folder: Path, out: Path) -> None:
        self.folder, self.out = folder, out / folder.name
        self.out.mkdir(parents=True, exist_ok=True)
        self.settings = json.loads((folder / "set.json").read_text())
        blocks = read_star(folder / self.settings["truth"]["particles"])
        table = dict(blocks["particles"])
        self.truth = np.asarray(table["rlnClassNumber"]).astype(np.int64) - 1
        self.n_classes = int(self.truth.max()) + 1
        pairs = (str(name).split("@") for name in table["rlnImageName"])
        table["rlnImageName"] = np.array([f"{number}@{folder / stack}" for number, stack in pairs], dtype=object)
        self.images = table["rlnImageName"]
        self.star = self.out / "given.star"
        shown = {name: column for name, column in table.items() if name not in HIDDEN}
        write_star(self.star, blocks | {"particles": shown}, comment="version 30001")

    def measured(self, label: np.ndarray, probability: np.ndarray) -> dict[str, Any]:
        """Agreement with the truth of labels from 0 and what was said of their probability, in the order of the set."""
        n = max(self.n_classes, int(label.max()) + 1)
        table = contingency(label, self.truth, n, n)
        return {
            "adjusted_rand": float(adjusted_rand(table)),
            "accuracy": matched_accuracy(table),
            "calibration_error": calibration(probability, matched(table)[label] == self.truth).error,
            "sizes": np.bincount(label, minlength=n).tolist(),
            "mean_probability": float(probability.mean()),
        }


def run(command: list[str], log: Path) -> float:
    """CPU seconds of a command; exit where it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("w") as stream:
        status = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=subprocess.STDOUT).returncode
    if status:
        raise SystemExit(f"{command[0]} failed with status {status}; see {log}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def blush(mixture: Mixture, name: str, seed: int, changes: dict[str, Any]) -> tuple[Path, float]:
    """Run folder and CPU seconds of a classification; `changes` of section classification."""
    settings = mixture.settings
    content: dict[str, Any] = {
        "name": name,
        "job": "classify",
        "output": str(mixture.out),
        "particles": str(mixture.star),
        "reference": str(mixture.folder / settings["reference"]),
        "particle_diameter_angst": settings["particle_diameter_angst"],
        "symmetry": settings["symmetry"],
        "initial_lowpass_angst": settings["initial_lowpass_angst"],
        "classification": {"classes": mixture.n_classes, "verify": False},
        "compute": {"device": "cpu"},
        "seed": seed,
    }
    for key, value in changes.items():
        content[key] = content[key] | value if isinstance(value, dict) and key in content else value
    shutil.rmtree(mixture.out / name, ignore_errors=True)
    config = mixture.out / f"{name}.yaml"
    config.write_text(yaml.safe_dump(content))
    program = str(Path(sys.executable).parent / "blush")
    cpu = run([program, "refine", str(config), "--quiet"], mixture.out / f"{name}.log")
    return mixture.out / name, cpu


def blush_result(mixture: Mixture, seed: int) -> dict[str, Any]:
    """Blush from random classes."""
    folder, cpu = blush(mixture, f"blush_seed{seed}", seed, {})
    found = np.load(folder / "class_posteriors.npz")
    label = found["class_number"] - 1
    probability = found["posterior"].astype(np.float64)[np.arange(len(label)), label]
    summary = json.loads((folder / "summary.json").read_text())
    return mixture.measured(label, probability) | {"cpu_seconds": cpu, "iterations": summary["iterations"]}


def oracle_result(mixture: Mixture) -> dict[str, Any]:
    """One expectation step with the true maps to Nyquist, whose posteriors take up the true fractions."""
    maps = [str(mixture.folder / f"true_map_class{k + 1:03d}.mrc") for k in range(mixture.n_classes)]
    optics = read_star(mixture.star)["optics"]
    changes: dict[str, Any] = {
        "initial_lowpass_angst": 2 * float(optics["rlnImagePixelSize"][0]),
        "symmetry": "C1",
        "refinement": {"reference_is_greyscale": True},
        "classification": {
            "references": maps, "prior": "spectrum", "folds": 1, "temperature": 1, "max_iterations": 1, "verify": False,
        },
    }  # fmt: skip
    folder, cpu = blush(mixture, "oracle", 1, changes)
    posterior = np.load(folder / "it001" / "poses.npz")["shares"] * np.bincount(mixture.truth)
    posterior /= posterior.sum(1, keepdims=True)
    return mixture.measured(posterior.argmax(1), posterior.max(1)) | {"cpu_seconds": cpu, "iterations": 1}


def relion_result(mixture: Mixture, seed: int) -> dict[str, Any]:
    """RELION from random classes."""
    settings, out = mixture.settings, mixture.out / f"relion_seed{seed}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = [
        "relion_refine", "--i", str(mixture.star), "--o", str(out / "run"), "--random_seed", str(seed),
        "--ref", str(mixture.folder / settings["reference"]), "--K", str(mixture.n_classes), "--skip_align",
        "--iter", str(RELION_ITERATIONS), "--tau2_fudge", "4", "--ctf", "--ctf_corrected_ref", "--flatten_solvent",
        "--zero_mask", "--ini_high", f"{settings['initial_lowpass_angst']:g}", "--norm", "--scale", "--pad", "2",
        "--particle_diameter", f"{settings['particle_diameter_angst']:g}", "--sym", settings["symmetry"], "--j", "1",
        "--dont_combine_weights_via_disc", "--pool", "30",
    ]  # fmt: skip
    cpu = run(command, mixture.out / f"{out.name}.log")
    table = read_star(out / f"run_it{RELION_ITERATIONS:03d}_data.star")["particles"]
    place = {name: row for row, name in enumerate(table["rlnImageName"])}
    rows = [place[name] for name in mixture.images]
    label = np.asarray(table["rlnClassNumber"]).astype(np.int64)[rows] - 1
    probability = np.asarray(table["rlnMaxValueProbDistribution"], dtype=float)[rows]
    return mixture.measured(label, probability) | {"cpu_seconds": cpu, "iterations": RELION_ITERATIONS}


def kept(mixture: Mixture, name: str, work) -> dict[str, Any]:
    """A result, from its file where it was measured before."""
    path = mixture.out / f"{name}.json"
    if not path.exists():
        result = {"set": mixture.folder.name, "run": name} | work()
        path.write_text(json.dumps(result, indent=1) + "\n")
    result = json.loads(path.read_text())
    print(line(result), flush=True)
    return result


def line(result: dict[str, Any]) -> str:
    """One run, for a person."""
    figures = " ".join(f"{name} {result[name]:.3f}" for name in MEASURES[:3])
    return (
        f"{result['set']:<28} {result['run']:<14} {figures} CPU {result['cpu_seconds']:.1f} s "
        f"iterations {result['iterations']} sizes {result['sizes']}"
    )


def summary(name: str, oracle: dict[str, Any], ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> dict:
    """Means of each program, and the paired difference with its interval."""
    difference = np.array([a["adjusted_rand"] - b["adjusted_rand"] for a, b in zip(ours, theirs, strict=True)])
    n = len(difference)
    half = float(student.ppf(0.975, n - 1) * difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    mean = float(difference.mean())
    means = {
        program: {measure: float(np.mean([one[measure] for one in runs])) for measure in MEASURES}
        for program, runs in (("oracle", [oracle]), ("blush", ours), ("relion", theirs))
    }
    interval = [mean - half, mean + half] if n > 1 else None
    speed = means["relion"]["cpu_seconds"] / means["blush"]["cpu_seconds"]
    return {"set": name, "seeds": n, **means, "difference": mean, "interval": interval, "cpu_ratio": speed}


def table(summaries: list[dict]) -> str:
    """All sets, as docs/benchmarks.md has it."""
    head = "| set | oracle | Blush | RELION | Blush less RELION | calibration error | CPU s |\n|" + 7 * "---|"
    rows = []
    for one in summaries:
        a, b, oracle = one["blush"], one["relion"], one["oracle"]
        span = "" if one["interval"] is None else f" ({one['interval'][0]:+.3f} to {one['interval'][1]:+.3f})"
        rows.append(
            f"| {one['set']} | {oracle['adjusted_rand']:.3f} | {a['adjusted_rand']:.3f} | {b['adjusted_rand']:.3f} | "
            f"{one['difference']:+.3f}{span} | {a['calibration_error']:.3f}; {b['calibration_error']:.3f} | "
            f"{a['cpu_seconds']:.0f}; {b['cpu_seconds']:.0f} |"
        )
    return "\n".join([head, *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    summaries = []
    for folder in chosen.sets:
        mixture = Mixture(folder.resolve(), chosen.out.resolve())
        oracle = kept(mixture, "oracle", lambda m=mixture: oracle_result(m))
        ours = [kept(mixture, f"blush_seed{s}", lambda m=mixture, s=s: blush_result(m, s)) for s in chosen.seeds]
        theirs = [kept(mixture, f"relion_seed{s}", lambda m=mixture, s=s: relion_result(m, s)) for s in chosen.seeds]
        summaries.append(summary(folder.name, oracle, ours, theirs))
        if chosen.json:
            chosen.json.write_text(json.dumps(summaries, indent=1) + "\n")
    print(table(summaries))


if __name__ == "__main__":
    main()
