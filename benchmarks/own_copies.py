"""How well a map without imposed symmetry agrees with its own turned copies: a truth for real, symmetric molecules.

    python benchmarks/own_copies.py measure SYMMETRIC_RUN D2 RUN [RUN ...]
    python benchmarks/own_copies.py spread SYMMETRIC_RUN D2 OUT.star

RUNs are refinements in C1 of the particles of SYMMETRIC_RUN. `measure` turns each half-map onto the axes of that run,
as the poses of both say, and prints its FSC with its copies under the group, in a sphere. Nothing in a refinement in C1
knows of the group, so what they have in common is signal, or what a regulariser makes alike of every subunit. `spread`
writes the poses of SYMMETRIC_RUN, each turned by an operator drawn at random, from which a local refinement in C1 shows
what is to be had; OUT belongs into the folder that the images in the table are relative to.
"""

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from blush.fourier.fsc import fsc
from blush.fourier.mask import soft_sphere
from blush.geometry.rotation import euler_from_matrix
from blush.geometry.symmetry import operators
from blush.io.mrc import read_volume
from blush.io.star import read_star, write_star
from blush.training.sampling import sample
from blush.validate.poses import Drift, pose_errors, rotations

ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
FROM_ANGST, TO_ANGST = 11.4, 7.5
SPHERE_SHARE, EDGE_PX = 0.4, 4.0


class Poses(SimpleNamespace):
    """Poses of a final table, without its images."""

    def __len__(self) -> int:
        return len(self.rot_deg)


def poses(run: Path) -> Poses:
    table = read_star(run / "run_data.star")["particles"]
    fields = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")
    names = (*ANGLES, "rlnOriginXAngst", "rlnOriginYAngst")
    return Poses(**{f: np.asarray(table[name], dtype=np.float64) for f, name in zip(fields, names, strict=True)})


def own_fsc(half: torch.Tensor, pixel: float, drift: Drift, group: torch.Tensor) -> torch.Tensor:
    """Mean over the copies of the FSC with them, of a half-map V(x) = V'(R x + c) that is brought back to V'."""
    box = len(half)
    axis = torch.arange(box, dtype=torch.float64) - box // 2
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3)
    home = (places - drift.shift_angst / pixel) @ drift.rotation
    straight = sample(half[None], home[None].float(), box).reshape(1, box, box, box)
    sphere = soft_sphere(box, SPHERE_SHARE * box, EDGE_PX)
    copies = [sample(straight, (places @ turn)[None].float(), box).reshape((box,) * 3) for turn in group[1:]]
    return torch.stack([fsc(straight[0] * sphere, copy * sphere) for copy in copies]).mean(0)


def measure(symmetric: Path, symmetry: str, runs: list[Path]) -> None:
    group, wanted = operators(symmetry).double(), poses(symmetric)
    for run in runs:
        errors = pose_errors(poses(run), wanted, symmetry)
        halves = [read_volume(run / f"run_half{half}_class001_unfil.mrc") for half in (1, 2)]
        curves = [own_fsc(torch.from_numpy(half).float(), pixel, errors.drift, group) for half, pixel in halves]
        curve, box, pixel = (curves[0] + curves[1]) / 2, len(halves[0][0]), halves[0][1]
        seen = [s for s in range(1, box // 2 + 1) if TO_ANGST <= box * pixel / s <= FROM_ANGST]
        first, last = (box * pixel / seen[i] for i in (0, -1))
        print(
            f"{run.name}: FSC with its own copies {float(curve[seen].mean()):.3f} from {first:.1f} to {last:.1f} Å; "
            f"poses {float(errors.angle_deg.median()):.2f}° from those of {symmetric.name} (median)"
        )


def spread(symmetric: Path, symmetry: str, out: Path) -> None:
    blocks = read_star(symmetric / "run_data.star")
    group = operators(symmetry).double()
    drawn = np.random.default_rng(1).integers(0, len(group), len(blocks["particles"]["rlnAngleRot"]))
    turned = euler_from_matrix(rotations(poses(symmetric)) @ group[torch.from_numpy(drawn)])
    for column, name in enumerate(ANGLES):
        blocks["particles"][name] = turned[:, column].numpy()
    write_star(out, blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["measure", "spread"])
    parser.add_argument("symmetric", type=Path)
    parser.add_argument("symmetry")
    parser.add_argument("paths", type=Path, nargs="+", metavar="RUN or OUT")
    chosen = parser.parse_args()
    if chosen.action == "measure":
        measure(chosen.symmetric, chosen.symmetry, chosen.paths)
    else:
        spread(chosen.symmetric, chosen.symmetry, chosen.paths[0])


if __name__ == "__main__":
    main()
