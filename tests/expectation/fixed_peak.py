"""Peak memory of one step at given poses in this process: `python fixed_peak.py BOX RADIUS REFERENCES IMAGES FOLDER`.

Prints the peak, what the formula says of it, and how much of that the allocator may have given back, in bytes.
"""

import sys
from pathlib import Path

import mrcfile
import numpy as np
import torch

from blush.expectation.component import Component, Reference
from blush.expectation.memory import StepSize
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid
from blush.io.optics import OpticsGroup
from blush.io.particles import ParticleSet

PIXEL_ANGST = 2.0
PYTHON_BYTES = 290_000_000
"""Measured: Python with torch 2.13; what the formula says of the process beyond it is what the allocator keeps."""


def particles(folder: Path, box: int, count: int) -> ParticleSet:
    """Zero images at poses over the sphere; rows repeat those of a small stack."""
    with mrcfile.new(folder / "stack.mrcs") as stack:
        stack.set_data(np.zeros((8, box, box), np.float32))
    zeros, whole = np.zeros(count), np.zeros(count, np.int32)
    names = ("defocus_angle_deg", "phase_shift_deg", "ctf_bfactor", "offset_x_angst", "offset_y_angst")
    plain = dict.fromkeys(names, zeros) | {"norm_correction": np.ones(count), "ctf_scale": np.ones(count)}
    angles = {f"{name}_deg": np.linspace(0, 170, count) for name in ("rot", "tilt", "psi")}
    return ParticleSet(
        image_index=np.arange(count) % 8, stack_index=whole, optics_index=whole, group_index=whole,
        half=np.ones(count, np.int8), stacks=(str(folder / "stack.mrcs"),),
        optics=(OpticsGroup("g", 300.0, 2.7, 0.1, PIXEL_ANGST, box),), has_poses=True,
        defocus_u_angst=np.full(count, 1e4), defocus_v_angst=np.full(count, 1e4), **plain, **angles,
    )  # fmt: skip


def main(box: int, radius: int, n: int, count: int, folder: Path) -> None:
    """Run the step, as a shard is: references, sums, what is written."""
    torch.set_num_threads(1)
    given = particles(folder, box, count)
    draw = torch.Generator().manual_seed(1)
    maps = (1e-3 * torch.randn(box, box, box, generator=draw) for _ in range(n))
    references = tuple(Reference(transform(volume, radius)) for volume in maps)
    model = Model(
        component=Component(references, OrientationGrid.build(0, "C1")), pixel_size_angst=PIXEL_ANGST,
        particle_diameter_angst=0.7 * box * PIXEL_ANGST, coarse_radius=4, radius=radius,
        noise=torch.ones(1, box // 2 + 1).double(), scale=torch.ones(1).double(), norm_average=1.0,
        offsets_angst=torch.zeros(1, 2).double(), offset_step_angst=1.0, sigma_offset_angst=5.0, fixed_poses=True,
    )  # fmt: skip
    step = Expectation(model, given, torch.float32, torch.device("cpu"))
    arrays = step.run(given).arrays()
    assert float(arrays["weight"].sum()) > 0.99 * count
    status = Path("/proc/self/status").read_text(encoding="ascii")
    peak = 1024 * int(status.split("VmHWM:")[1].split()[0])
    size = StepSize(box, radius, 4, model.component.n_rows, 1, 4, references=n, fixed=True)
    assert step.room.images == size.block_size(2e9)
    said = size.peak(min(count, step.room.images))
    sys.stdout.write(f"{peak} {said.total} {said.process - PYTHON_BYTES}\n")


if __name__ == "__main__":
    main(*(int(x) for x in sys.argv[1:5]), folder=Path(sys.argv[5]))
