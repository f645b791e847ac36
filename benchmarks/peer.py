"""Run RELION 3.1.3's auto-refine on a benchmark set, and record what it cost and how near to the truth it came.

    python benchmarks/peer.py SET {expert,nomask} [--seed 1]
    python benchmarks/peer.py SET filament [--minutes 25]

SET is a folder with `set.json` (see `make_sets.py`). Results go to SET/relion_MODE/: RELION's own files, `log.txt`,
`command.json`, and `result.json`. CPU seconds are user + system time of every rank, measured by GNU time around each;
those of rank 0 are given apart, because the leader mostly spins while it waits for its followers. Filaments start from
`filaments.STARTS`; a run that is stopped after --minutes is compared by its last iteration, the mean of both half-maps.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from compare import compare_with_truth, final_resolution_angst, last_iteration
from filament_truth import compared
from filaments import start_of

from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star

RANKS = 3
OPTIONS = (
    "--auto_refine --split_random_halves --firstiter_cc --ctf --ctf_corrected_ref --flatten_solvent --zero_mask "
    "--oversampling 1 --healpix_order 2 --auto_local_healpix_order 4 --offset_range 5 --offset_step 2 "
    "--low_resol_join_halves 40 --norm --scale --pad 2 --dont_combine_weights_via_disc --pool 3 --j 1"
)
# A rank that is stopped is ended below GNU time, which then writes what it took before mpirun ends them all
TIMED_RANK = (
    '[ -n "$LIMIT" ] && trap "" TERM; exec /usr/bin/time -f "%U %S %e %M" '
    '-o "$RANK_TIMES/rank$OMPI_COMM_WORLD_RANK.txt" ${LIMIT:+timeout --signal=USR1 "$LIMIT"} "$@"'
)


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


def helix_arguments(folder: Path, settings: dict) -> list[str]:
    """Options of filaments; RELION draws half-sets of whole tubes by itself, which the result counts."""
    helix = start_of(settings)
    drawn = json.loads((folder / "simulation.json").read_text())["settings"]["filaments"]
    rise = helix.get("rise_range_angst", [helix["rise_angst"] * k for k in (0.99, 1.01)])
    options = {
        "outer_diameter": helix["tube_diameter_angst"],
        "nr_asu": drawn["units_per_segment"],
        "rise_initial": helix["rise_angst"],
        "rise_min": rise[0],
        "rise_max": rise[1],
        "twist_initial": helix["twist_deg"],
        "twist_min": helix["twist_range_deg"][0],
        "twist_max": helix["twist_range_deg"][1],
        "z_percentage": helix.get("central_fraction", 0.3),
        "sigma_distance": 0.6666,
    }
    given = [word for key, value in options.items() for word in (f"--helical_{key}", f"{value:g}")]
    return ["--helix", "--helical_symmetry_search", "--sigma_tilt", "5", "--sigma_psi", "3.33", *given]


def compared_filaments(folder: Path, out: Path) -> dict:
    """How near filaments came to the truth, at the end or after the last whole iteration, with rise and twist."""
    done = len(list(out.glob("run_it[0-9][0-9][0-9]_half2_class001.mrc"))) - 1
    volume, table, model = (out / name for name in ("run_class001.mrc", "run_data.star", "run_model.star"))
    if not volume.exists():
        if done < 1:
            return {"iterations": 0}
        last = f"run_it{done:03d}"
        halves = [read_volume(out / f"{last}_half{k}_class001.mrc") for k in (1, 2)]
        volume, table, model = (out / name for name in ("stopped.mrc", f"{last}_data.star", f"{last}_half1_model.star"))
        write_volume(volume, (halves[0][0] + halves[1][0]) / 2, halves[0][1])
    found, blocks = read_star(model)["model_classes"], read_star(table)
    rows = blocks["particles"]
    name = np.char.add(rows["rlnMicrographName"].astype(str), rows["rlnHelicalTubeID"].astype(str))
    both = [one for one in np.unique(name) if len(np.unique(rows["rlnRandomSubset"][name == one])) > 1]
    symmetry = {"rise_angst": float(found["rlnHelicalRise"][0]), "twist_deg": float(found["rlnHelicalTwist"][0])}
    return {"iterations": done, "filaments_in_both_halves": len(both)} | symmetry | compared(folder, table, volume)


def run_relion(folder: Path, mode: str, chosen: list[str], minutes: float | None = None) -> dict:
    """Run to convergence, or for some minutes; exit where RELION fails."""
    out = folder / f"relion_{mode}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(RANKS)]
    command += ["bash", "-c", TIMED_RANK, "rank", "relion_refine_mpi", *chosen]
    (out / "command.json").write_text(json.dumps(command, indent=1) + "\n")
    load_before, begun = os.getloadavg(), time.time()
    with (out / "log.txt").open("w") as log:
        environment = {**os.environ, "RANK_TIMES": str(out), "OMP_NUM_THREADS": "1"}
        environment["LIMIT"] = "" if minutes is None else f"{60 * minutes:g}"
        done = subprocess.run(  # mpirun would eat the standard input of a script
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    stopped = minutes is not None and time.time() - begun >= 60 * minutes
    if done.returncode and not stopped:
        raise SystemExit(f"RELION failed with status {done.returncode}; see {out / 'log.txt'}")
    return {
        "stopped": stopped,
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
    parser.add_argument("mode", choices=["expert", "nomask", "filament"])
    parser.add_argument("--minutes", type=float, help="of wall clock, after which RELION is stopped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compare-only", action="store_true", help="read a finished run again")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    settings = json.loads((folder / "set.json").read_text())
    out = folder / f"relion_{chosen.mode}"
    if chosen.compare_only:
        result = json.loads((out / "result.json").read_text())
    else:
        options = arguments(settings, chosen.mode, chosen.seed)
        options += helix_arguments(folder, settings) if chosen.mode == "filament" else []
        result = run_relion(folder, chosen.mode, options, chosen.minutes)
    result |= {"set": settings["name"], "program": "relion 3.1.3", "mode": chosen.mode}
    if not result.get("stopped"):
        result["reported_resolution_angst"] = final_resolution_angst(out / "run_model.star")
    if chosen.mode == "filament":
        result |= compared_filaments(folder, out)
    else:
        result["iterations"] = last_iteration(out)
    if chosen.mode != "filament" and settings["truth"]:
        result |= compare_with_truth(folder, settings, out / "run_class001.mrc", out / "run_data.star")
    (out / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
