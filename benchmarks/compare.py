"""How near a refinement came to the truth: FSC against the true map, and pose errors.

python benchmarks/compare.py SET      the oracle: RELION's reconstruction from the true poses, to SET/oracle.json
"""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch

from blush.fourier.fsc import fsc, interpolated_resolution_at
from blush.geometry.rotation import angular_distance_deg, matrix_from_euler
from blush.geometry.symmetry import operators
from blush.io.mrc import read_volume
from blush.io.particles import read_particles
from blush.io.star import Table, read_star
from blush.training.library import sharpened
from blush.training.sampling import sample
from blush.validate.poses import pose_errors as measured_errors


def final_resolution_angst(model: Path) -> float:
    """Resolution a RELION run reports for its final joined map."""
    return float(read_star(model)["model_general"]["rlnCurrentResolution"][0])


def last_iteration(out: Path) -> int:
    """Number of the last iteration: of Blush's folders, or of the tables that RELION writes under their number."""
    ours = [int(path.name[2:]) for path in out.glob("it[0-9][0-9][0-9]")]
    return max(ours or [int(path.name[6:9]) for path in out.glob("run_it[0-9][0-9][0-9]_data.star")])


def compare_with_truth(folder: Path, settings: dict, final_map: Path, final_data: Path) -> dict:
    """Resolution against the true map inside its mask, and errors of the poses against the true ones."""
    return map_errors(folder, settings, final_map) | pose_errors(folder, settings, final_data)


def map_errors(folder: Path, settings: dict, final_map: Path) -> dict:
    """Where the FSC with the true map, both masked, falls below one half, and unmasked."""
    truth, pixel = read_volume(folder / settings["truth"]["map"])
    mask = torch.from_numpy(read_volume(folder / settings["truth"]["mask"])[0])
    found, true = torch.from_numpy(read_volume(final_map)[0]), torch.from_numpy(truth)
    masked, unmasked = fsc(found * mask, true * mask), fsc(found, true)
    box = len(true)
    return {
        "fsc05_truth_masked_angst": interpolated_resolution_at(masked, 0.5, box, pixel),
        "fsc05_truth_unmasked_angst": interpolated_resolution_at(unmasked, 0.5, box, pixel),
        "fsc_truth_masked": [round(float(value), 4) for value in masked],
    }


def aligned_resolution_angst(folder: Path, settings: dict, run: Path) -> float:
    """Where the FSC with the true map falls below 1/2, after the turn and shift that the whole map has drifted.

    A refinement may turn its map by a degree, or shift it along a symmetry axis, which is no error; the common rotation
    and shift of its poses against the true ones say by how much.
    """
    true, pixel = read_volume(folder / settings["truth"]["map"])
    mask, _ = read_volume(folder / settings["truth"]["mask"])
    found = torch.from_numpy(read_volume(run / "run_class001.mrc")[0])
    beside = folder / f"{run.name}.star"  # paths of stacks start at the set's folder
    shutil.copy(run / "run_data.star", beside)
    estimated, _ = read_particles(beside)
    drift = measured_errors(
        estimated, read_particles(folder / settings["truth"]["particles"])[0], settings["symmetry"]
    ).drift
    box = len(true)
    axis = torch.arange(box) - box // 2
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3).double()
    moved = (places @ drift.rotation.T + drift.shift_angst / pixel).float()
    maps = torch.stack([sharpened(torch.from_numpy(true)), torch.from_numpy(mask)])
    truth, inside = sample(maps, moved[None], box)[:, 0]
    curve = fsc(found * inside, truth * inside)
    return interpolated_resolution_at(curve, 0.5, box, pixel)


def pose_errors(folder: Path, settings: dict, final_data: Path) -> dict:
    """Angles between found and true orientations, up to symmetry, before and after removing their common rotation."""
    truth = _by_image(read_star(folder / settings["truth"]["particles"])["particles"])
    found = read_star(final_data)["particles"]
    rows = np.array([truth["row"][str(name)] for name in found["rlnImageName"]])
    true_matrix = matrix_from_euler(_columns(truth["table"], "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")[rows])
    matrix = matrix_from_euler(_columns(found, "rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"))
    group = operators(settings["symmetry"])
    error = angular_distance_deg(matrix, true_matrix, group)
    drift = common_rotation(matrix, true_matrix, group)
    aligned = angular_distance_deg(matrix, true_matrix @ drift, group)
    shift = _columns(found, "rlnOriginXAngst", "rlnOriginYAngst")
    true_shift = _columns(truth["table"], "rlnOriginXAngst", "rlnOriginYAngst")[rows]
    return {
        "median_angle_error_deg": float(error.median()),
        "median_angle_error_aligned_deg": float(aligned.median()),
        "share_within_10_deg": float((error < 10).double().mean()),
        "drift_deg": float(angular_distance_deg(drift, torch.eye(3, dtype=torch.float64))),
        "median_offset_error_angst": float((shift - true_shift).norm(dim=1).median()),
    }


def common_rotation(found: torch.Tensor, true: torch.Tensor, group: torch.Tensor) -> torch.Tensor:
    """Rotation D that makes true D nearest to the found orientations, each true one taken as its best mate."""
    mates = true[:, None] @ group.to(true)
    best = (mates - found[:, None]).flatten(2).norm(dim=2).argmin(1)
    chosen = mates[torch.arange(len(true)), best]
    near = angular_distance_deg(found, chosen) < 15
    left, _, right = torch.linalg.svd((chosen[near].transpose(1, 2) @ found[near]).sum(0))
    return left @ torch.diag(torch.tensor([1.0, 1.0, torch.linalg.det(left @ right)], dtype=left.dtype)) @ right


def _by_image(table: Table) -> dict:
    return {"table": table, "row": {str(name): row for row, name in enumerate(table["rlnImageName"])}}


def _columns(table: Table, *names: str) -> torch.Tensor:
    return torch.from_numpy(np.stack([np.asarray(table[name], dtype=np.float64) for name in names], 1))


def oracle(folder: Path, settings: dict) -> dict:
    """RELION's unregularised reconstruction from the true poses, without and with the group's symmetry."""
    command = ["relion_reconstruct", "--i", settings["truth"]["particles"], "--o", "oracle.mrc", "--ctf"]
    subprocess.run([*command, "--sym", settings["symmetry"]], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return map_errors(folder, settings, folder / "oracle.mrc")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    result = oracle(folder, json.loads((folder / "set.json").read_text()))
    (folder / "oracle.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
