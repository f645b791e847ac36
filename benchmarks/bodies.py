"""Multi-body refinement of a simulated set by this program and by RELION 3.1.3, from one consensus, against the truth.

    python benchmarks/make_sets.py SETS MODELS bodies_equal
    python benchmarks/bodies.py SETS/bodies_equal consensus
    python benchmarks/bodies.py SETS/bodies_equal blush [--regulariser blush]
    python benchmarks/bodies.py SETS/bodies_equal relion
    python benchmarks/bodies.py SETS/bodies_equal table

The consensus is `blush refine` from the set's filtered map. RELION is given its poses and half-sets: two iterations of
auto-refine around these poses make the files that it continues from, in which the poses are then put back. Of each
body: errors of its poses, after the turn and shift that all of them have in common, and where the FSC with the body's
own true map falls below one half inside its mask, moved by the same. The same is said of the consensus map.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import yaml
from peer import RANKS, TIMED_RANK, cpu_seconds
from scipy.spatial.transform import Rotation

from blush.fourier.fsc import fsc, interpolated_resolution_at
from blush.geometry.bodies import (
    BodyExtent,
    body_axis,
    body_frame,
    body_pose,
    origin_from_relion,
    residual_rotation,
    seen_shift,
)
from blush.geometry.rotation import euler_from_matrix, matrix_from_euler
from blush.io.bodies import read_bodies
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, read_star, write_star
from blush.jobs.body_import import moved
from blush.validate.compare import into_true_frame
from blush.validate.poses import pose_errors

RANGE_PX, STEP_PX = 2.0, 1.0
POSES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi", "rlnOriginXAngst", "rlnOriginYAngst")
RELION = (
    "--oversampling 1 --healpix_order 4 --auto_local_healpix_order 4 --dont_combine_weights_via_disc --pool 3 --pad 2 "
    "--j 1"
)


def numbers(table: Table, names: tuple[str, ...]) -> torch.Tensor:
    """(n, len(names)) columns."""
    return torch.from_numpy(np.stack([np.asarray(table[name], dtype=np.float64) for name in names], 1))


def poses_of(table: Table) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 3, 3) rotations and (n, 2) origins."""
    values = numbers(table, POSES)
    return matrix_from_euler(values[:, :3]), values[:, 3:]


def posed(particles: ParticleSet, view: torch.Tensor, origin: torch.Tensor) -> ParticleSet:
    """Particles at other poses."""
    rot, tilt, psi = euler_from_matrix(view).numpy().T
    x, y = origin.numpy().T
    columns = {"rot_deg": rot, "tilt_deg": tilt, "psi_deg": psi, "offset_x_angst": x, "offset_y_angst": y}
    return replace(particles, **columns)


class Truth:
    """What is true of the bodies of a set."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.settings = folder, json.loads((folder / "set.json").read_text())
        self.particles, blocks = read_particles(folder / "truth.star", find_stacks=False)
        self.pixel = self.particles.optics[0].pixel_size_angst
        self.bodies, _ = read_bodies(folder / "bodies.star", self.pixel)
        self.masks = [torch.from_numpy(read_volume(body.mask)[0]) for body in self.bodies]
        self.centres_px = [BodyExtent.of(mask).centre_px for mask in self.masks]
        self.table = blocks["particles"]

    def pose(self, body: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Plain poses of a re-centred body: its motion is told about its own centre, here the voxel next to it."""
        view, origin = poses_of(self.table)
        mark = f"blushBody{body + 1}"
        turn = numbers(self.table, tuple(f"{mark}Turn{axis}" for axis in "XYZ")).numpy()
        shift = numbers(self.table, tuple(f"{mark}Shift{axis}Angst" for axis in "XYZ"))
        rotation = torch.from_numpy(Rotation.from_rotvec(turn, degrees=True).as_matrix())
        derived = json.loads((self.folder / "simulation.json").read_text())["derived"]["bodies"][body]
        told = torch.tensor(derived["centre_angst"], dtype=torch.float64)
        centre = self.centres_px[body] * self.pixel
        away = (centre - told).expand(len(rotation), 3)
        shift = shift + (rotation @ away[..., None])[..., 0] - away
        return body_pose(view, origin, rotation, seen_shift(view, shift), centre)

    def measured(self, body: int, volume: torch.Tensor, view: torch.Tensor, origin: torch.Tensor) -> dict:
        """Errors of poses, and the resolution of a re-centred map, by the truth.

        Parameters
        ----------
        volume
            (N, N, N) about the body's centre.
        """
        errors = pose_errors(posed(self.particles, view, origin), posed(self.particles, *self.pose(body)), "C1")
        true = torch.from_numpy(read_volume(self.folder / f"true_map_body{body + 1:03d}.mrc")[0])
        centre = tuple(int(one) for one in self.centres_px[body])
        true, mask = moved(true, centre), moved(self.masks[body], centre)
        aligned = into_true_frame(volume, errors.drift, self.pixel)
        curve = fsc(aligned * mask, true * mask)
        return errors.summary() | {
            "fsc05_truth_angst": interpolated_resolution_at(curve, 0.5, len(true), self.pixel),
            "fsc_truth": [round(float(one), 4) for one in curve],
        }


def consensus(truth: Truth) -> dict:
    """Refine the whole molecule, and say how good that is inside each body's mask."""
    folder = truth.folder
    content = {
        "name": "consensus", "particles": "particles.star", "reference": "reference.mrc",
        "particle_diameter_angst": truth.settings["particle_diameter_angst"], "output": "ours",
    }  # fmt: skip
    (folder / "consensus.yaml").write_text(yaml.safe_dump(content))
    cpu = timed([sys.executable, "-m", "blush", "refine", "consensus.yaml", "--quiet"], folder)
    run = folder / "ours" / "consensus"
    view, origin = poses_of(read_star(run / "run_data.star")["particles"])
    whole = torch.from_numpy(read_volume(run / "run_class001.mrc")[0])
    found = {}
    for index, body in enumerate(truth.bodies):
        centre = truth.centres_px[index]
        own = origin - seen_shift(view, centre * truth.pixel)
        found[body.name] = truth.measured(index, moved(whole, tuple(int(one) for one in centre)), view, own)
    return {"cpu_seconds": cpu, "bodies": found}


def blush(truth: Truth, regulariser: str) -> dict:
    """Refine the bodies with this program."""
    folder, name = truth.folder, f"bodies_{regulariser}"
    content = {
        "name": name, "job": "multibody", "particles": "ours/consensus/run_data.star",
        "reference": "ours/consensus/run_class001.mrc", "multibody": {"body_file": "bodies.star"},
        "particle_diameter_angst": truth.settings["particle_diameter_angst"], "output": "ours",
        "sampling": {"offset_range_px": RANGE_PX, "offset_step_px": STEP_PX}, "regulariser": {"name": regulariser},
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    cpu = timed([sys.executable, "-m", "blush", "refine", f"{name}.yaml", "--quiet"], folder)
    found = {}
    for index, body in enumerate(truth.bodies):
        run = folder / "ours" / name / f"body{index + 1:03d}"
        if body.refine:
            poses = poses_of(read_star(run / "run_data.star")["particles"])
            volume = torch.from_numpy(read_volume(run / "run_class001.mrc")[0])
            found[body.name] = truth.measured(index, volume, *poses)
    return {"cpu_seconds": cpu, "bodies": found}


def relion(truth: Truth) -> dict:
    """Refine the bodies with RELION 3.1.3, from the same poses and half-sets."""
    folder = truth.folder
    star = folder / "consensus_poses.star"
    blocks = read_star(folder / "ours/consensus/run_data.star")
    given = read_star(folder / "particles.star")["particles"]
    blocks["particles"]["rlnImageName"] = given["rlnImageName"]
    write_star(star, blocks)
    first = (
        f"--auto_refine --split_random_halves --i {star.name} --ref ours/consensus/run_class001.mrc --ctf "
        f"--ctf_corrected_ref --flatten_solvent --zero_mask --offset_range {RANGE_PX} --offset_step {STEP_PX} "
        f"--low_resol_join_halves 40 --norm --scale --particle_diameter {truth.settings['particle_diameter_angst']} "
        "--ini_high 15 --auto_iter_max 2 --random_seed 1"
    )
    mpi(folder, "relion_first", first)
    put_back(folder / "relion_first/run_it002_data.star", blocks["particles"])
    scale = truth.pixel**2  # https://github.com/3dem/relion/issues/1085: both are multiplied by the pixel size again
    second = (
        f"--continue relion_first/run_it002_optimiser.star --multibody_masks bodies.star --solvent_correct_fsc "
        f"--offset_range {RANGE_PX * truth.pixel / scale:.5f} --offset_step {STEP_PX * truth.pixel / scale:.5f} "
        "--reconstruct_subtracted_bodies"
    )
    mpi(folder, "relion_bodies", second)
    blocks = read_star(folder / "relion_bodies/run_data.star")
    order = {str(name).lstrip("0"): row for row, name in enumerate(given["rlnImageName"])}
    rows = np.array([order[str(name).lstrip("0")] for name in blocks["particles"]["rlnImageName"]])
    back = np.argsort(rows)
    view, origin = (one[back] for one in poses_of(blocks["particles"]))
    centres = [centre * truth.pixel for centre in truth.centres_px]
    names, found = [body.name for body in truth.bodies], {}
    for index, body in enumerate(truth.bodies):
        partner = None if body.hinge_with is None else centres[names.index(body.hinge_with)]
        frame = body_frame(body_axis(centres[index], partner, body.name))
        values = numbers(blocks[f"images_body_{index + 1}"], POSES)[back]
        turned = view @ residual_rotation(values[:, :3], frame)
        own = origin_from_relion(view, origin, values[:, 3:], centres[index], truth.pixel)
        volume = torch.from_numpy(read_volume(folder / f"relion_bodies/run_body{index + 1:03d}.mrc")[0])
        at_centre = moved(volume, tuple(int(one) for one in truth.centres_px[index]))
        found[body.name] = truth.measured(index, at_centre, turned, own)
    return {**cpu_seconds(folder / "relion_bodies"), "bodies": found}


def put_back(star: Path, wanted: Table) -> None:
    """Write the poses of a table into another one, whose rows are in another order."""
    blocks = read_star(star)
    order = {str(name).lstrip("0"): row for row, name in enumerate(wanted["rlnImageName"])}
    rows = np.array([order[str(name).lstrip("0")] for name in blocks["particles"]["rlnImageName"]])
    if not np.array_equal(np.asarray(wanted["rlnRandomSubset"])[rows], blocks["particles"]["rlnRandomSubset"]):
        raise SystemExit("RELION drew other half-sets")
    blocks["particles"] |= {name: np.asarray(wanted[name])[rows] for name in POSES}
    write_star(star, blocks)


def mpi(folder: Path, out: str, options: str) -> None:
    """Run RELION; exit where it fails."""
    shutil.rmtree(folder / out, ignore_errors=True)
    (folder / out).mkdir()
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", str(RANKS), "bash", "-c", TIMED_RANK, "rank"]
    command += ["relion_refine_mpi", "--o", f"{out}/run", *options.split(), *RELION.split()]
    environment = {**os.environ, "RANK_TIMES": str(folder / out), "OMP_NUM_THREADS": "1"}
    with (folder / out / "log.txt").open("w") as log:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
        )
    if done.returncode:
        raise SystemExit(f"RELION failed with status {done.returncode}; see {folder / out / 'log.txt'}")


def timed(command: list[str], folder: Path) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def table(folder: Path) -> str:
    """Results of a set, a row for each body and program."""
    rows = ["| body | by | true FSC 0.5 (Å) | rotation (°) | offset (Å) | CPU s |", "|---|---|---|---|---|---|"]
    for path in sorted(folder.glob("bodies_*.json")):
        result = json.loads(path.read_text())
        for name, one in result["bodies"].items():
            rows.append(
                f"| {name} | {path.stem.removeprefix('bodies_')} | {one['fsc05_truth_angst']:.2f} | "
                f"{one['angle_median_deg']:.2f} | {one['shift_median_angst']:.2f} | {result['cpu_seconds']:.0f} |"
            )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("what", choices=["consensus", "blush", "relion", "table"])
    parser.add_argument("--regulariser", default="wiener")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    torch.set_num_threads(1)
    if chosen.what == "table":
        sys.stdout.write(table(folder) + "\n")
        return
    truth = Truth(folder)
    if chosen.what == "consensus":
        result, name = consensus(truth), "consensus"
    elif chosen.what == "blush":
        result, name = blush(truth, chosen.regulariser), chosen.regulariser
    else:
        result, name = relion(truth), "relion"
    (folder / f"bodies_{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    sys.stdout.write(table(folder) + "\n")


if __name__ == "__main__":
    main()
