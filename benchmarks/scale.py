"""What a large particle table costs: import, `converge`, and the disk that an iteration leaves, at 10^4 and 10^6 rows.

    python benchmarks/scale.py [ROWS ...]

Images have 8 px, so that what is timed is the table and not the pixels; 200 lie in a stack. Iteration 1 has invented
statistics of the size that real ones have, since `converge` reads nothing else. Each step runs in a fresh process.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

BOX_PX, PIXEL_ANGST, PER_STACK, DIRECTIONS = 8, 4.0, 200, 3072


def make_set(folder: Path, rows: int) -> None:
    """Noise images with a bright disc, their table, a ball as reference and the run's configuration."""
    from blush.io.mrc import write_stack, write_volume
    from blush.io.star import write_star

    rng = np.random.default_rng(1)
    axis = np.arange(BOX_PX) - BOX_PX // 2
    radius = np.sqrt(axis**2 + axis[:, None] ** 2)
    stacks = -(-rows // PER_STACK)
    (folder / "stacks").mkdir()
    for stack in range(stacks):
        n = min(PER_STACK, rows - stack * PER_STACK)
        images = rng.normal(0, 1, (n, BOX_PX, BOX_PX)) + 2 * (radius < 3)
        write_stack(folder / "stacks" / f"{stack:06d}.mrcs", images.astype(np.float32), PIXEL_ANGST)
    ball = np.sqrt(radius[None] ** 2 + axis[:, None, None] ** 2) < 3
    write_volume(folder / "ball.mrc", ball.astype(np.float32), PIXEL_ANGST)
    optics = {"rlnOpticsGroup": 1, "rlnVoltage": 300.0, "rlnSphericalAberration": 2.7, "rlnAmplitudeContrast": 0.1,
              "rlnImagePixelSize": PIXEL_ANGST, "rlnImageSize": BOX_PX, "rlnImageDimensionality": 2}  # fmt: skip
    stack, image = np.divmod(np.arange(rows), PER_STACK)
    particles = {
        "rlnImageName": np.array(
            [f"{i + 1:06d}@stacks/{s:06d}.mrcs" for i, s in zip(image, stack, strict=True)], object
        ),
        "rlnMicrographName": np.array([f"mic{s:06d}.mrc" for s in stack], object),
        "rlnOpticsGroup": np.ones(rows, dtype=np.int64),
        "rlnDefocusU": rng.uniform(8000, 25000, rows),
        "rlnDefocusV": rng.uniform(8000, 25000, rows),
        "rlnDefocusAngle": rng.uniform(0, 180, rows),
    }
    tables = {"optics": {name: np.array([value]) for name, value in optics.items()}, "particles": particles}
    write_star(folder / "particles.star", tables)
    config = {
        "name": "scale",
        "output": str(folder),
        "particles": str(folder / "particles.star"),
        "reference": str(folder / "ball.mrc"),
        "particle_diameter_angst": 24,
        "initial_lowpass_angst": 16,
        "refinement": {"reference_is_greyscale": True},
        "sampling": {"offset_range_px": 3},
    }
    (folder / "run.json").write_text(json.dumps(config))


def invent_statistics(run: Path) -> None:
    """What `reduce_subset` and `denoise_and_trail` would have left for `converge` in iteration 1."""
    from blush.io.files import save_npz
    from blush.jobs.inputs import TABLE_COLUMNS, read_plan
    from blush.jobs.layout import RunFolder
    from blush.jobs.sealed import written
    from blush.refine.state import load_state

    folder, plan = RunFolder(run), read_plan(run)
    state = load_state(folder.state(0))
    groups, shells = state.images.noise.shape[1:]
    rng = np.random.default_rng(2)
    folder.iteration(1).mkdir()
    for half, rows in zip(plan.subsets, plan.rows, strict=True):
        statistics = {f"table_{name}": rng.uniform(0.1, 1, len(rows)) for name in TABLE_COLUMNS}
        statistics |= {
            "noise": np.ones((groups, shells)),
            "weight": np.full(groups, float(len(rows))),
            "offset_square": np.array(float(len(rows))),
            "scale_cross": np.ones(state.images.scale.shape[1]),
            "scale_power": np.ones(state.images.scale.shape[1]),
            "directions": rng.uniform(0, 1, DIRECTIONS),
            "directions_deg": np.zeros((DIRECTIONS, 2)),
            "accuracy_rotation_deg": np.array(5.0),
            "accuracy_offset_angst": np.array(2.0),
        }
        with written(folder, folder.statistics(1, half)) as beside:
            save_npz(beside, statistics)
    curve = np.linspace(1, 0.2, shells)
    spectra = {"fsc": curve, "fsc_unmasked": curve, "ssnr": curve, "tau2": np.stack([curve] * 2)}
    with written(folder, folder.spectra(1)) as beside:
        save_npz(beside, spectra | {"sigma2_ref": spectra["tau2"]})


def step(folder: Path, name: str) -> None:
    """Run one step in this process and print its seconds and its peak of memory."""
    from blush.config import RunConfig
    from blush.jobs import converge, importing, start

    config = RunConfig.model_validate(json.loads((folder / "run.json").read_text()))
    run = config.run_dir.absolute()
    work = {
        "import": lambda: importing.import_run(config),
        "start": lambda: start.start(run),
        "converge": lambda: converge.converge(run, 1),
    }[name]
    if name == "converge":
        invent_statistics(run)
    wall, cpu = time.monotonic(), time.process_time()
    work()
    figures = {
        "wall_s": time.monotonic() - wall,
        "cpu_s": time.process_time() - cpu,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }
    print(json.dumps(figures))


def iteration_bytes(run: Path) -> float:
    """Bytes that iteration 1 left, but for maps, whose size is that of the box."""
    return sum(path.stat().st_size for path in (run / "it001").iterdir())


def main() -> None:
    """Print one row a step and table size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", type=int, default=[10_000, 1_000_000])
    parser.add_argument("--step", nargs=2, metavar=("FOLDER", "NAME"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        step(Path(chosen.step[0]), chosen.step[1])
        return
    print("| rows | step | wall s | CPU s | peak GB |\n|---|---|---|---|---|")
    for rows in chosen.rows:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            make_set(folder, rows)
            for name in ("import", "start", "converge"):
                command = [sys.executable, __file__, "--step", scratch, name]
                out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
                figures = json.loads(out.splitlines()[-1])
                print(
                    "| {:,} | {} | {wall_s:.2f} | {cpu_s:.2f} | {peak_gb:.2f} |".format(rows, name, **figures),
                    flush=True,
                )
            left = iteration_bytes(folder / "scale")
            print(f"| {rows:,} | left by iteration 1: {left / 1e6:.1f} MB, {left / rows:.0f} bytes a row | | | |")


if __name__ == "__main__":
    main()
