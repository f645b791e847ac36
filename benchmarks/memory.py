"""Peak memory of the steps of a last iteration, each in a fresh process, beside the formula.

    python benchmarks/memory.py [BOX ...]

Boxes are 64, 128 and 256 px unless given; 256 px needs 8 GB. Particles are few: what counts is the box, a global search
of 4,608 orientations, data to Nyquist, and images that tell no pose from another, which is the worst case.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

PARTICLES, PIXEL_ANGST = 16, 1.5


def make_set(folder: Path, box: int) -> None:
    """Noise with a bright disc, and a ball too faint to tell poses apart: all of them stay significant."""
    from blush.io.mrc import write_stack, write_volume
    from blush.io.star import write_star

    axis = np.arange(box) - box // 2
    radius = np.sqrt(axis**2 + axis[:, None] ** 2)
    images = np.random.default_rng(1).normal(0, 1, (PARTICLES, box, box)) + 2 * (radius < 0.2 * box)
    write_stack(folder / "images.mrcs", images.astype(np.float32), PIXEL_ANGST)
    ball = np.sqrt(radius[None] ** 2 + axis[:, None, None] ** 2) < 0.2 * box
    write_volume(folder / "ball.mrc", 1e-3 * ball.astype(np.float32), PIXEL_ANGST)
    optics = {"rlnOpticsGroup": 1, "rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1,
              "rlnImagePixelSize": PIXEL_ANGST, "rlnImageSize": box, "rlnImageDimensionality": 2}  # fmt: skip
    particles = {
        "rlnImageName": np.array([f"{i + 1:06d}@images.mrcs" for i in range(PARTICLES)], dtype=object),
        "rlnOpticsGroup": np.ones(PARTICLES, dtype=np.int64),
        "rlnDefocusU": np.linspace(10000.0, 20000.0, PARTICLES),
        "rlnDefocusV": np.linspace(10000.0, 20000.0, PARTICLES),
        "rlnDefocusAngle": np.zeros(PARTICLES),
    }
    tables = {"optics": {name: np.array([value]) for name, value in optics.items()}, "particles": particles}
    write_star(folder / "particles.star", tables)


def step(folder: str, box: str, name: str) -> None:
    """Run one step in this process and print its peak, in bytes."""
    from blush.config import RunConfig
    from blush.jobs import steps

    config = RunConfig.model_validate(
        {
            "name": "run",
            "particles": Path(folder) / "particles.star",
            "reference": Path(folder) / "ball.mrc",
            "mask": "sphere",
            "particle_diameter_angst": 0.7 * int(box) * PIXEL_ANGST,
            "refinement": {"max_iterations": 1},
            "compute": {"device": "cpu", "shards_per_half": 2, "memory_gb": 8},
            "output": Path(folder),
        }
    )
    run = config.run_dir
    {
        "import": lambda: steps.import_run(config),
        "start": lambda: steps.start(run),
        "expectation": lambda: [steps.expectation_shard(run, 1, 1, shard) for shard in (0, 1)],
        "other half": lambda: [steps.expectation_shard(run, 1, 2, shard) for shard in (0, 1)],
        "reduce": lambda: steps.reduce_subset(run, 1, 1),
        "other reduce": lambda: steps.reduce_subset(run, 1, 2),
        "maps": lambda: steps.denoise_and_trail(run, 1),
    }[name]()
    print(json.dumps(1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))


def measure(box: int) -> dict[str, int]:
    """Peak of each step."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        make_set(Path(folder), box)
        for name in ("import", "start", "expectation", "other half", "reduce", "other reduce", "maps"):
            command = [sys.executable, __file__, "--step", folder, str(box), name]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            peaks[name] = int(done.stdout.split()[-1])
    return peaks


def expected(box: int) -> dict[str, int]:
    """What the formulas say of the steps that have one."""
    from blush.expectation.memory import peak_bytes
    from blush.geometry.sampling import OrientationGrid, offset_grid
    from blush.jobs.memory import maps_bytes
    from blush.refine.schedule import coarse_size

    grid, shifts = OrientationGrid.build(2, "C1"), len(offset_grid(5.0, 2.0))
    coarse_radius = coarse_size(box, PIXEL_ANGST, 0.7 * box * PIXEL_ANGST, 2, box) // 2
    step = peak_bytes(box, box // 2, coarse_radius, grid.n_orientations, shifts, PARTICLES // 4, 4)
    return {"expectation": step, "other half": step, "maps": maps_bytes(box, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boxes", nargs="*", type=int, default=[64, 128, 256])
    parser.add_argument("--step", nargs=3, metavar=("FOLDER", "BOX", "NAME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        step(*chosen.step)
        return
    print(f"{'box':>4} {'step':<14} {'measured MB':>12} {'formula MB':>11} {'ratio':>6}")
    for box in chosen.boxes:
        formula = expected(box)
        for name, peak in measure(box).items():
            line = f"{box:>4} {name:<14} {peak / 1e6:>12.0f}"
            if name in formula:
                line += f" {formula[name] / 1e6:>11.0f} {formula[name] / peak:>6.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
