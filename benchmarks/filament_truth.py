"""How far refined filaments are from the truth of a simulated set, of Blush's runs and of any RELION's.

    python benchmarks/filament_truth.py SET TABLE MAP

SET is a folder of `make_sets.py filament_...`; TABLE has the refined poses of its segments, in any order; MAP is the
refined map, of the box of the set. Only what no refinement can know is taken away: a turn about the axis, a shift along
it of up to half a rise, and the map upside down. Maps are compared in the central 30 % of the tube.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from blush.geometry.helix import Helix
from blush.io.filaments import with_filaments
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet, read_particles
from blush.validate.helix_truth import TrueHelix, compare_helix_with_truth

CENTRAL, EDGE_PX = 0.3, 5
POSE = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")


def compared(folder: Path, table: Path, path: Path) -> dict:
    true, blocks = read_particles(folder / "truth.star", find_stacks=False)
    segments, _ = with_filaments(true, blocks, folder / "truth.star", [], [])
    found, other = read_particles(table, find_stacks=False)
    place = {image(str(name)): row for row, name in enumerate(other["particles"]["rlnImageName"])}
    rows = np.array([place[image(str(name))] for name in blocks["particles"]["rlnImageName"]])
    estimated: ParticleSet = replace(segments, **{name: getattr(found, name)[rows] for name in POSE})
    volumes = [read_volume(file) for file in (path, folder / "true_map.mrc", folder / "mask.mrc")]
    volume, truth, tube = (torch.from_numpy(values) for values, _ in volumes)
    helix = json.loads((folder / "simulation.json").read_text())["settings"]["filaments"]
    known = TrueHelix(
        truth,
        tube * central(len(truth))[:, None, None],
        true,
        Helix(helix["rise_angst"], helix["twist_deg"], helix["fold"]),
    )
    return compare_helix_with_truth(volume, estimated, known, volumes[1][1])


def image(name: str) -> tuple[int, str]:
    """Number and stack of an image, wherever the stack is."""
    number, _, stack = name.partition("@")
    return int(number), Path(stack).name


def central(box: int) -> torch.Tensor:
    height = (torch.arange(box) - box // 2).abs() - CENTRAL * box / 2
    return 0.5 + 0.5 * torch.cos(torch.pi * (height / EDGE_PX).clamp(0, 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("folder", "table", "map"):
        parser.add_argument(name, type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print(json.dumps(compared(chosen.folder, chosen.table, chosen.map), indent=1))


if __name__ == "__main__":
    main()
