"""Plant faults in the numerics one by one and see which test notices: `python scripts/mutants.py [WORD ...]`.

Every mutant is made in a temporary copy of the repository; words choose those whose name or file holds one of them.
Exits with 1 if a mutant that leaks between the halves survives, or fewer than 95 of 100 are caught.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = 600
LEAST_SHARE = 0.95
ROOMS = {
    "expectation": ["tests/expectation", "tests/oracle/test_oracle_expectation.py"],
    "maximization": ["tests/maximization", "tests/jobs/test_denoise_and_trail.py"],
    "regularise": ["tests/regularise/test_trailing.py", "tests/regularise/test_driver.py", "tests/regularise"],
    "refine": ["tests/refine"],
    "jobs": ["tests/jobs/test_expect.py", "tests/jobs/test_denoise_and_trail.py", "tests/jobs/test_converge.py",
             "tests/jobs/test_half_independence.py", "tests/jobs/test_reduce.py"],
}  # fmt: skip
"""Tests by room, the likely ones first; the first failure ends them."""


@dataclass(frozen=True)
class Mutant:
    """One fault: what stands in a file below `blush/`, once, and what is put there."""

    name: str
    file: str
    old: str
    new: str
    leaks: bool = False


MUTANTS = (
    Mutant("both halves aligned to half 1's reference", "jobs/expect.py",
           "folder.reference(state.iteration, half)", "folder.reference(state.iteration, 1)", leaks=True),
    Mutant("cross-over to the other half's Wiener map", "regularise/drive.py",
           "maps.wiener(half) if crosses", "maps.wiener(1 - half) if crosses", leaks=True),
    Mutant("noise of half 1 for both", "jobs/expect.py", "state.noise[index]", "state.noise[0]", leaks=True),
    Mutant("scales of half 1 for both", "jobs/expect.py", "state.scale[index]", "state.scale[0]", leaks=True),
    Mutant("norm of half 1 for both", "jobs/expect.py",
           "state.norm_average[index]", "state.norm_average[0]", leaks=True),
    Mutant("offset width of half 1 for both", "jobs/expect.py",
           "state.sigma_offset_angst[index]", "state.sigma_offset_angst[0]", leaks=True),
    Mutant("offsets not perturbed", "jobs/expect.py",
           "offsets + state.perturbation * state.offset_step_angst", "offsets"),
    Mutant("orientations not perturbed", "jobs/expect.py",
           "state.symmetry, state.perturbation)", "state.symmetry, 0.0)"),
    Mutant("scale from shells of no signal", "jobs/expect.py", "SCALE_SSNR = 3.0", "SCALE_SSNR = 0.3"),
    Mutant("histogram not normalised", "jobs/expect.py", "(histogram / histogram.mean())", "histogram"),
    Mutant("histogram of another grid", "jobs/expect.py",
           'if int(arrays["healpix_order"]) != state.healpix_order:', "if False:"),
    Mutant("accuracies of the first particles", "jobs/expect.py",
           ".permutation(len(rows))[:PARTICLES]", ".permutation(min(len(rows), PARTICLES))"),
    Mutant("final map with the SSNR of one half", "jobs/denoise_and_trail.py", "joined=True", "joined=False"),
    Mutant("references with the SSNR of the joined map", "jobs/denoise_and_trail.py", "joined=False", "joined=True"),
    Mutant("maps of the cross-correlation not filtered", "jobs/denoise_and_trail.py",
           "if state.first_cc:", "if False:"),
    Mutant("cut from the plain FSC", "regularise/drive.py", "cut_shell(maps.fsc,", "cut_shell(maps.fsc_unmasked,"),
    Mutant("Wiener filling not cut to the sphere", "regularise/trailing.py",
           "outside = wiener * sphere", "outside = wiener"),
    Mutant("trailing one shell late", "regularise/trailing.py",
           "return max(1, first - shells)", "return max(1, first - shells + 1)"),
    Mutant("trailing at 0.5", "regularise/trailing.py", "FSC_LIMIT = 1 / 7", "FSC_LIMIT = 0.5"),
    Mutant("accuracy at half the log ratio", "expectation/accuracy.py", "LOG_RATIO = 4.60517", "LOG_RATIO = 2.3"),
    Mutant("origin in the accuracy", "expectation/accuracy.py",
           "        weight[:, 0] = 0", "        weight[:, 0] += 0"),
    Mutant("accuracy with half the noise", "expectation/accuracy.py", "(2 * noise[part]", "(1 * noise[part]"),
    Mutant("MTF at the binned pixel", "expectation/optics.py",
           "group.original_pixel_size_angst or group.pixel_size_angst", "group.pixel_size_angst"),
    Mutant("local prior not of mean 1", "expectation/shard.py",
           "log_prior + (orientation >= 0).sum(1, keepdim=True).log()", "log_prior"),
    Mutant("CTF of premultiplied images", "expectation/shard.py", "ctf.square(), ctf)", "ctf, ctf)"),
    Mutant("origin in the likelihood", "expectation/shard.py",
           "cross[..., 0], power[:, 0] = 0, 0", "cross[..., 0], power[:, 0] = cross[..., 0], power[:, 0]"),
    Mutant("offset prior around the previous origin", "expectation/shard.py",
           "offsets = whole_angst + ", "offsets = 0 * whole_angst + "),
    Mutant("norm multiplied", "expectation/shard.py",
           'model.norm_average / column("norm_correction")', 'model.norm_average * column("norm_correction")'),
    Mutant("residual without the cross term", "expectation/statistics.py", "- 2 * scale * cross", "- scale * cross"),
    Mutant("noise floor of the weights", "maximization/reconstruct.py", "WEIGHT_FLOOR = 1e-3", "WEIGHT_FLOOR = 1e-1"),
    Mutant("regularised from shell 1", "maximization/reconstruct.py",
           "FIRST_REGULARISED_SHELL = 5", "FIRST_REGULARISED_SHELL = 1"),
    Mutant("offset width of one axis", "maximization/noise.py",
           "square_angst2 / (2 * weight)", "square_angst2 / weight"),
    Mutant("noise not per component", "maximization/noise.py", "np.maximum(2 * weight", "np.maximum(weight"),
    Mutant("scales within a factor of 50", "maximization/noise.py",
           "median / 5, 5 * median", "median / 50, 50 * median"),
    Mutant("joined one shell further", "maximization/halves.py",
           "(sums.pad * shell) ** 2", "(sums.pad * (shell + 1)) ** 2"),
    Mutant("joined shells rounded down", "maximization/halves.py", "return math.ceil(", "return math.floor("),
    Mutant("joined map's F not doubled", "maximization/spectra.py", "2 * f / (1 + f)", "f / (1 + f)"),
    Mutant("FSC clamped at 0.9", "maximization/spectra.py", "0.001, 0.999", "0.001, 0.9"),
    Mutant("offset step without its limit", "refine/schedule.py",
           "MAX_OFFSET_STEP_ANGST = 1.5", "MAX_OFFSET_STEP_ANGST = 15.0"),
    Mutant("perturbation that moves less", "refine/schedule.py",
           "generator.uniform(factor / 2, factor)", "generator.uniform(0, factor / 8)"),
    Mutant("coarse size of twice the arc", "refine/schedule.py", "arc_angst / 1.2", "arc_angst / 0.6"),
    Mutant("fine enough at any step", "refine/convergence.py", "_FINE_ENOUGH = 0.75", "_FINE_ENOUGH = 7.5"),
    Mutant("gaps counted in the end", "refine/convergence.py", "over_gaps=not state.final", "over_gaps=True"),
    Mutant("counters not set back", "refine/convergence.py", "        no_resolution_gain=0,\n", ""),
)  # fmt: skip


def caught_by(mutant: Mutant, copy: Path) -> str:
    """Name of the test that notices, "no end" if they do not come to an end, or nothing."""
    path = copy / "blush" / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise SystemExit(f"{mutant.name}: {text.count(mutant.old)} places in {path.name} hold {mutant.old!r}, not one")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *ROOMS[mutant.file.split("/")[0]]]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return "no end"
    finally:
        path.write_text(text, encoding="utf-8")
    if done.returncode == 0:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if found is None:
        raise SystemExit(
            f"{mutant.name}: pytest ended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return found[1]


def main(words: list[str]) -> int:
    """Try the mutants chosen by `words`, print a table; the exit status."""
    chosen = [m for m in MUTANTS if not words or any(word in f"{m.name} {m.file}" for word in words)]
    if not chosen:
        raise SystemExit(f"no mutant's name or file holds any of: {', '.join(words)}")
    caught, leaked = 0, 0
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        copy = Path(folder) / "blush"
        ignored = shutil.ignore_patterns(".git", ".venv", "results", "__pycache__", ".mypy_cache", ".ruff_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        for mutant in chosen:
            test = caught_by(mutant, copy)
            caught += bool(test)
            leaked += mutant.leaks and not test
            print(f"{'caught' if test else 'SURVIVED':9}{mutant.file:30}{mutant.name:48}{test}", flush=True)
    print(f"{caught} of {len(chosen)} caught; {leaked} that leak between the halves survived")
    return int(leaked > 0 or caught < LEAST_SHARE * len(chosen))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
