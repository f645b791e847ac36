"""Half-maps to train on as refinement makes them: simulated particles of many models are refined, and maps kept.

    python scripts/refined_pairs.py MODELS.npz OUT [--sets 60] [--first 0] [--seed 1] [--preferred 0.3]

A denoiser that works in the loop meets half-maps whose particles are misaligned and whose noise was aligned to. Each
set takes a model that is not held out, draws particles, signal-to-noise (from what refines well to what fails), views
and a regulariser, and refines; the unregularised half-maps of some iterations are kept with the true map, turned into
their frame. OUT/pairs.tsv lists them as `sources.folder.pairs` of a training wants it. A set that is there is not made
again; equal seeds give equal bytes. One thread.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.config import RunConfig
from blush.errors import BlushError
from blush.fourier.fsc import fsc, resolution_at
from blush.fourier.grid import radius_3d
from blush.io.files import atomic_write, read_json, write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import read_particles
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.jobs.reduce import load_sums
from blush.jobs.settings import take_up
from blush.maximization.halves import join_low_resolution, join_shell
from blush.maximization.reconstruct import reconstruct
from blush.refine.state import load_state
from blush.refine.subset import HALVES
from blush.simulate.particle import build_particle_of
from blush.simulate.particle_set import simulate
from blush.simulate.settings import Belt, SimulateConfig
from blush.training.library import sharpened
from blush.training.models import Model, read_models
from blush.training.sampling import sample
from blush.training.truths import disordered
from blush.validate.poses import pose_errors

KEPT = (2, 4, 6, 9, 12)
COLUMNS = ("name", "half1", "half2", "truth", "mask", "group", "symmetry", "resolution_angst")
SMALLEST_KDA, LARGEST_KDA, LARGEST_DIAMETER_ANGST = 28, 260, 135
SCALE_ANGST = 25.0


def chosen_models(path: Path) -> list[Model]:
    """Models to train on that a small box holds."""
    return [
        model
        for model in read_models(path)
        if model.row.split == "train"
        and SMALLEST_KDA <= model.row.mass_kda <= LARGEST_KDA
        and model.row.diameter_angst <= LARGEST_DIAMETER_ANGST
    ]


def simulation(model: Model, random: np.random.Generator, preferred: float, out: Path) -> float:
    """Write a particle set, of preferred views with that chance; returns the particle's diameter in Å."""
    atoms = disordered(model.atoms, random)
    membrane = model.row.kind == "membrane" and random.random() < 0.7
    belt = Belt(center_z_angst=0, core_width_angst=12, shell_angst=6, core_contrast=0.01) if membrane else None
    box = int(random.choice([48, 56, 64]))
    filled = random.uniform(0.5, 0.62)
    pixel = float(np.clip((model.row.diameter_angst + (30 if membrane else 0)) / filled / box, 1.9, 3.8))
    # Signal over noise in a pixel falls as the pixel's area; 64 kDa at 2.2 Å refine from about 0.1 on.
    edge = 0.1 * (pixel / 2.2) ** 2 * (64 / model.row.mass_kda) ** 0.3
    settings = SimulateConfig.model_validate(
        {
            "imaging": {
                "n_particles": int(random.choice([200, 300, 400])),
                "box_px": box,
                "pixel_size_angst": round(pixel, 3),
                "offset_sd_angst": 3,
                "defocus_min_angst": 6000,
                "defocus_max_angst": 18000,
                "envelope_bfactor_angst2": float(random.uniform(50, 150)),
            },
            "views": {
                "preferred_axes": [random.standard_normal(3).tolist()] if random.random() < preferred else [],
                "preferred_fraction": 0.6,
            },
            "noise": {"snr": float(edge * np.exp(random.uniform(np.log(0.55), np.log(2.5))))},
            "initial_lowpass_angst": float(random.choice([30, 40])),
            "seed": int(random.integers(2**31)),
            "output": out,
        }
    )
    particle = build_particle_of(atoms, belt, settings)
    simulate(settings, particle=particle)
    return particle.diameter_angst


def refined(folder: Path, diameter_angst: float, random: np.random.Generator) -> RunConfig:
    """Configuration of the refinement of a set."""
    name = str(random.choice(["wiener", "wiener", "nonuniform", "none"]))
    lowpass = read_json(folder / "simulation.json")["settings"]["initial_lowpass_angst"]
    return RunConfig.model_validate(
        {
            "name": "run",
            "output": folder,
            "particles": folder / "particles.star",
            "reference": folder / "reference.mrc",
            "mask": str(random.choice(["auto", "sphere"])),
            "particle_diameter_angst": diameter_angst,
            "initial_lowpass_angst": lowpass,
            "regulariser": {"name": name},
            "refinement": {"max_iterations": max(KEPT), "iteration_tables": True},
            # The wide prior that the shipped weights' pairs were made with; a denoiser is to see images led astray.
            "sampling": {"offset_range_px": 3, "offset_sigma_angst": 10},
            "compute": {"shards_per_half": 1, "workers": 1, "pool": "inline", "device": "cpu"},
            "seed": int(random.integers(2**31)),
        }
    )


def unregularised(run: Path, iteration: int) -> tuple[Tensor, Tensor]:
    """Half-maps as the regulariser of an iteration was given them."""
    folder, config = RunFolder(run.absolute()), read_config(run.absolute())
    state = load_state(folder.state(iteration - 1))
    one, two = (load_sums(folder, iteration, half, state.facts.box_px, torch.device("cpu")) for half in HALVES)
    if not state.final:
        join = config.refinement.low_resolution_join_angst
        shell = join_shell(state.facts.box_px, state.facts.pixel_size_angst, join, state.resolution_angst)
        one, two = join_low_resolution(one, two, shell)
    return reconstruct(one, None), reconstruct(two, None)


def in_frame(truth: Tensor, mask: Tensor, run: Path, iteration: int, truth_star: Path, pixel: float) -> Tensor:
    """True map and mask turned and shifted as the refinement has drifted: (2, N, N, N)."""
    folder = RunFolder(run.absolute())
    estimated = folder.root / f"run_it{iteration:03d}_data.star"
    found = read_particles(estimated if estimated.exists() else folder.root / "run_data.star")[0]
    drift = pose_errors(found, read_particles(truth_star)[0]).drift
    box = truth.shape[-1]
    axis = torch.arange(box) - box // 2
    places = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")[::-1], -1).reshape(-1, 3).double()
    moved = places @ drift.rotation.T + drift.shift_angst / pixel
    return sample(torch.stack([sharpened(truth), mask]), moved[None].float(), box)[:, 0]


def pair(out: Path, name: str, model: Model, run: Path, iteration: int) -> str:
    """Write the half-maps of one iteration with their truth; returns the row of the table."""
    source = run.parent
    truth, pixel = read_volume(source / "true_map.mrc")
    mask, _ = read_volume(source / "mask.mrc")
    turned = in_frame(torch.from_numpy(truth), torch.from_numpy(mask), run, iteration, source / "truth.star", pixel)
    true, inside = turned[0], turned[1].clamp(0, 1)
    halves = unregularised(run, iteration)
    mean, box = (halves[0] + halves[1]) / 2, len(true)
    low = radius_3d(box) < box * pixel / SCALE_ANGST
    f, g = torch.fft.rfftn(mean * inside)[low], torch.fft.rfftn(true * inside)[low]
    scale = float((f * g.conj()).real.sum() / g.abs().square().sum())
    if not scale > 0.05 * float(f.abs().square().sum() / g.abs().square().sum()) ** 0.5:
        raise BlushError(f"{name}: the map has nothing of the truth left")
    level = float(true[inside > 0.5].std())
    maps = {"half1": halves[0] / scale, "half2": halves[1] / scale, "truth": true, "mask": inside * level}
    for kind, values in maps.items():
        write_volume(out / f"{name}_{kind}.mrc", (values / level).numpy(), pixel)
    curve = fsc(halves[0] * inside, halves[1] * inside)
    against = fsc(mean * inside, true * inside)
    resolution = resolution_at(curve, 1 / 7, box, pixel)
    sys.stdout.write(f"  {name}: halves {resolution:.1f} Å, truth {resolution_at(against, 0.5, box, pixel):.1f} Å\n")
    files = [f"{name}_{kind}.mrc" for kind in ("half1", "half2", "truth", "mask")]
    return "\t".join([name, *files, model.row.group, "C1", f"{resolution:.3f}"])


def make_set(number: int, model: Model, out: Path, seed: int, preferred: float) -> list[str]:
    """Simulate, refine, keep; returns rows of the table."""
    random = np.random.default_rng([seed, number])
    work = out / f"work{number:04d}"
    shutil.rmtree(work, ignore_errors=True)
    diameter = simulation(model, random, preferred, work)
    config = refined(work, diameter, random)
    run = config.run_dir.absolute()
    if not take_up(config):
        steps.import_run(config)
    steps.start(run)
    state, rows = steps.latest_state(run), []
    while state is not None and not state.converged:
        state = iterate(run, state.iteration + 1)
        if state.iteration in KEPT or state.converged:
            try:
                rows.append(pair(out, f"s{number:04d}i{state.iteration:02d}", model, run, state.iteration))
            except BlushError as error:
                sys.stdout.write(f"  left out: {error.title}\n")
    shutil.rmtree(work)
    return rows


def main() -> None:
    """Sets one after the other; the table is complete after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sets", type=int, default=60)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--preferred", type=float, default=0.3, help="share of sets with preferred views")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    chosen.out.mkdir(parents=True, exist_ok=True)
    models = chosen_models(chosen.models)
    order = np.random.default_rng(chosen.seed).permutation(len(models))
    for number in range(chosen.first, chosen.first + chosen.sets):
        model, begun = models[order[number % len(models)]], time.process_time()
        done = chosen.out / f"set{number:04d}.json"
        if not done.exists():
            rows = make_set(number, model, chosen.out, chosen.seed, chosen.preferred)
            write_json(done, {"model": model.row.name, "rows": rows})
            seconds = time.process_time() - begun
            sys.stdout.write(
                f"set {number} ({model.row.name}, {model.row.mass_kda} kDa): {len(rows)} pairs, {seconds:.0f} s\n"
            )
            sys.stdout.flush()
        table = ["\t".join(COLUMNS)]
        for path in sorted(chosen.out.glob("set*.json")):
            table += read_json(path)["rows"]
        with atomic_write(chosen.out / "pairs.tsv") as beside:
            beside.write_text("\n".join(table) + "\n")


if __name__ == "__main__":
    main()
