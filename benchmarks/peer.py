"""Run RELION 3.1.3's auto-refine on a benchmark set, and record what it cost and how near to the truth it came.

    python benchmarks/peer.py SET {expert,nomask} [--seed 1]

SET is a folder with `set.json` (see `make_sets.py`). Results go to SET/relion_MODE/: RELION's own files, `log.txt`,
`command.json`, and `result.json`. CPU seconds are user + system time of every rank, measured by GNU time around each;
those of rank 0 are given apart, because the leader mostly spins while it waits for its followers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from compare import compare_with_truth, final_resolution_angst, last_iteration

RANKS = 3
OPTIONS = (
    "--auto_refine --split_random_halves --firstiter_cc --ctf --ctf_corrected_ref --flatten_solvent --zero_mask "
    "--oversampling 1 --healpix_order 2 --auto_local_healpix_order 4 --offset_range 5 --offset_step 2 "
    "--low_resol_join_halves 40 --norm --scale --pad 2 --dont_combine_weights_via_disc --pool 3 --j 1"
)
TIMED_RANK = 'exec /usr/bin/time -f "%U %S %e %M" -o "$RANK_TIMES/rank$OMPI_COMM_WORLD_RANK.txt" "$@"'


def arguments(settings: dict, mode: str, seed: int) -> list[str]:
    """Refinement options of one mode; `expert` gives RELION the solvent mask, `nomask` a sphere."""
    chosen = [
        "--i", settings["particles"], "--ref", settings["reference"], "--o", f"relion_{mode}/run",
        "--ini_high", f"{settings['initial_lowpass_angst']:g}",
        "--particle_diameter", f"{settings['particle_diameter_angst']:g}",
        "--sym", settings["symmetry"], "--random_seed", str(seed), *OPTIONS.split(),
    ]  # fmt: skip
    if mode == "expert":
        if not settings["mask"]:
            raise SystemExit(f"{settings['name']} has no mask, so it has no expert mode")
        chosen += ["--solvent_mask", settings["mask"], "--solvent_correct_fsc"]
    return chosen


def run_relion(folder: Path, mode: str, chosen: list[str]) -> dict:
    """Run to convergence; exit where RELION fails."""
    out = folder / f"relion_{mode}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(RANKS)]
    command += ["bash", "-c", TIMED_RANK, "rank", "relion_refine_mpi", *chosen]
    (out / "command.json").write_text(json.dumps(command, indent=1) + "\n")
    load_before, begun = os.getloadavg(), time.time()
    with (out / "log.txt").open("w") as log:
        environment = {**os.environ, "RANK_TIMES": str(out), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(  # mpirun would eat the standard input of a script
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    if done.returncode:
        raise SystemExit(f"RELION failed with status {done.returncode}; see {out / 'log.txt'}")
    return {
        "wall_seconds": time.time() - begun,
        "load_before": load_before,
        "load_after": os.getloadavg(),
    } | cpu_seconds(out)


def cpu_seconds(out: Path) -> dict:
    """User + system seconds and peak memory of the ranks, from the files GNU time left."""
    ranks = []
    for rank in range(RANKS):
        user, system, _, memory_kb = (out / f"rank{rank}.txt").read_text().split()[-4:]
        ranks.append((float(user) + float(system), float(memory_kb) / 1e6))
    return {
        "cpu_seconds": sum(seconds for seconds, _ in ranks),
        "cpu_seconds_followers": sum(seconds for seconds, _ in ranks[1:]),
        "peak_memory_gb_per_rank": max(memory for _, memory in ranks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("mode", choices=["expert", "nomask"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compare-only", action="store_true", help="read a finished run again")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    settings = json.loads((folder / "set.json").read_text())
    out = folder / f"relion_{chosen.mode}"
    if chosen.compare_only:
        result = json.loads((out / "result.json").read_text())
    else:
        result = run_relion(folder, chosen.mode, arguments(settings, chosen.mode, chosen.seed))
    result |= {"set": settings["name"], "program": "relion 3.1.3", "mode": chosen.mode}
    result["iterations"] = last_iteration(out)
    result["reported_resolution_angst"] = final_resolution_angst(out / "run_model.star")
    if settings["truth"]:
        result |= compare_with_truth(folder, settings, out / "run_class001.mrc", out / "run_data.star")
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
