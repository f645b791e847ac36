"""How well `blush classes verify` tells mixtures from homogeneous images, on simulated sets with several seeds.

    python benchmarks/verify_classes.py OUTPUT.json SET:CLASSES ... [--seeds 1 2 3] [--images 1000]

SET is a folder of `make_sets.py` or `class_sets.py`, whose poses and classes are those of `truth.star`. A set is
homogeneous where its truth has one class. Prints for every set and seed what was found; then, over all of them, the
area under the curve of the evidence, the gain, its z, and the agreement between halves, and how often the number of
classes is right. Where a set says what an oracle reaches, mixtures that it cannot decide are counted apart. Results are
kept in OUTPUT.json, and what is there already is not done again.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from blush.classes.given_poses import ClassSettings
from blush.classes.verify import verify_classes
from blush.fourier.mask import soft_sphere
from blush.io.particles import read_particles
from blush.validate.partitions import adjusted_rand, calibration, contingency, matched, matched_accuracy

EDGE_PX = 5
DECIDABLE = 0.3
"""Adjusted Rand index of an oracle from which a mixture can be decided."""


def measured(folder: Path, n_classes: int, seed: int, images: int | None) -> dict:
    """Verdict and truth of one set and seed."""
    given = json.loads((folder / "set.json").read_text())
    particles, blocks = read_particles(folder / "truth.star")
    truth = np.asarray(blocks["particles"]["rlnClassNumber"], dtype=np.int64)
    rows = np.random.default_rng(seed).permutation(len(particles))[:images]
    particles, truth = particles.take(np.sort(rows)), truth[np.sort(rows)]
    optics = particles.optics[0]
    settings = ClassSettings(n_classes, given["particle_diameter_angst"], given["symmetry"], seed=seed)
    mask = soft_sphere(optics.box_px, settings.particle_diameter_angst / 2 / optics.pixel_size_angst, EDGE_PX)
    begin, cpu = time.time(), time.process_time()
    found = verify_classes(particles, truth, settings, mask)
    known, true = np.unique(truth[found.rows], return_inverse=True)
    table = contingency(found.labels, true, n_classes, len(known))
    probability = found.posterior.max(1)
    return {
        "set": folder.name,
        "seed": seed,
        "n_true": len(known),
        "oracle_adjusted_rand": given.get("oracle_adjusted_rand"),
        "cpu_s": time.process_time() - cpu,
        "wall_s": time.time() - begin,
        "true_ari": float(adjusted_rand(table)),
        "true_accuracy": matched_accuracy(table),
        "calibration_error": calibration(probability, matched(table)[found.labels] == true).error,
        "mean_probability": float(probability.mean()),
        **found.content(),
    }


def area(positive: list[float], negative: list[float]) -> float:
    """Fraction of pairs of a mixture and a homogeneous set that a value puts in the right order."""
    pairs = np.subtract.outer(positive, negative)
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def summary(results: list[dict]) -> list[str]:
    """Over all sets and seeds, then without mixtures that an oracle with the true maps cannot decide."""
    decidable = [one for one in results if (one.get("oracle_adjusted_rand") or 1) >= DECIDABLE]
    told = _summary(results)
    if len(decidable) < len(results):
        told += [f"without {len(results) - len(decidable)} that the oracle cannot decide:", *_summary(decidable)]
    return told


def _summary(results: list[dict]) -> list[str]:
    real, other = ([one for one in results if (one["n_true"] > 1) is is_real] for is_real in (True, False))
    told = []
    if real and other:
        for name, value in (
            ("evidence", lambda r: max(one["nats"] for one in r["evidence"])),
            ("gain's z", lambda r: r["gain"]["z"]),
            ("gain", lambda r: r["gain"]["mean"]),
            ("ARI", lambda r: r["agreement_between_halves"]["value"]),
        ):
            told.append(f"AUC of the {name}: {area([*map(value, real)], [*map(value, other)]):.3f}")
    right = sum(one["supported_classes"] == one["n_true"] for one in results)
    found, false = (sum(one["supported_classes"] > 1 for one in some) for some in (real, other))
    told.append(
        f"mixtures with classes: {found} of {len(real)}; homogeneous sets with classes: {false} of {len(other)}; "
        f"right number of classes: {right} of {len(results)}"
    )
    if real:
        told.append(f"calibration error, mixtures: {np.mean([one['calibration_error'] for one in real]):.3f}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("sets", nargs="+", help="FOLDER:CLASSES")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--images", type=int)
    wanted = parser.parse_args()
    results = json.loads(wanted.output.read_text()) if wanted.output.exists() else []
    done = {(one["set"], one["n_classes"], one["seed"]) for one in results}
    for seed in wanted.seeds:
        for text in wanted.sets:
            folder, _, k = text.rpartition(":")
            if (Path(folder).name, int(k), seed) in done:
                continue
            one = measured(Path(folder), int(k), seed, wanted.images)
            results.append(one)
            wanted.output.write_text(json.dumps(results, indent=1))
            print(
                f"{one['set']:<28} K {k} seed {seed}: {one['supported_classes']} of {one['n_true']} true; "
                f"ARI halves {one['agreement_between_halves']['value']:.3f} truth {one['true_ari']:.3f}; "
                f"gain {one['gain']['mean']:+.4f} z {one['gain']['z']:.1f}; "
                f"evidence {max(k['nats'] for k in one['evidence']):+.1f}; "
                f"calibration error {one['calibration_error']:.3f}; {one['cpu_s']:.0f} CPU s",
                flush=True,
            )
    print("\n".join(summary(results)))


if __name__ == "__main__":
    main()
