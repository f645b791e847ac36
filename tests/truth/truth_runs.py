"""Small simulated sets, their refinement in this process, and what is true about the result."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from blush.config.run import RunConfig
from blush.fourier.fsc import fsc
from blush.io.files import read_json
from blush.io.mrc import map_stack, read_volume, write_stack
from blush.io.star import read_star
from blush.jobs import steps
from blush.jobs.autorefine import autorefine
from blush.refine.state import State, load_state
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig

DIAMETER_ANGST = 150
BOX_ANGST = 168
RANDOMISED_ANGST = 21.0
"""Shell 8 of 16: beyond it, the randomised particles hold no signal."""
SYMMETRY_OPERATORS = 8


def make_set(folder, particles=200, snr=0.5, box_px=32, pixel_size_angst=5.25, seed=1, views=None):
    """Simulate the demo's molecule (Rubisco, D4)."""
    settings = {
        "imaging": {"n_particles": particles, "box_px": box_px, "pixel_size_angst": pixel_size_angst},
        "views": views or {},
        "noise": {"snr": snr},
        "particle_diameter_angst": DIAMETER_ANGST,
        "seed": seed,
        "output": folder,
    }
    simulate(SimulateConfig.model_validate(settings))
    return folder


def replace_by_noise(folder, seed=1, pixel_size_angst=5.25):
    """Overwrite every image of a set by white noise of unit variance."""
    for number, path in enumerate(sorted((folder / "stacks").glob("*.mrcs"))):
        noise = np.random.default_rng([99, seed, number]).standard_normal(map_stack(path).shape, dtype=np.float32)
        write_stack(path, noise, pixel_size_angst)


@dataclass(frozen=True)
class Run:
    """A finished refinement and the set it came from."""

    root: Path
    truth: Path

    @cached_property
    def summary(self):
        return read_json(self.root / "summary.json")

    @cached_property
    def states(self) -> list[State]:
        paths = sorted(self.root.glob("it[0-9][0-9][0-9]/state.json"))
        return [load_state(path) for path in paths]

    @property
    def last(self) -> State:
        return self.states[-1]

    def map(self, name) -> torch.Tensor:
        return torch.from_numpy(read_volume(self.root / name)[0])

    @cached_property
    def halves(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.map("run_half1_class001_unfil.mrc"), self.map("run_half2_class001_unfil.mrc")

    @cached_property
    def true_map(self) -> torch.Tensor:
        return torch.from_numpy(read_volume(self.truth / "true_map.mrc")[0])

    @cached_property
    def half_fsc(self) -> np.ndarray:
        """Plain FSC of the final half-maps."""
        return fsc(*self.halves).numpy()

    def against(self, other, mask=None) -> np.ndarray:
        """Plain FSC of the final map, halves averaged, with another map."""
        average = (self.halves[0] + self.halves[1]) / 2
        return (fsc(average, other) if mask is None else fsc(average * mask, other * mask)).numpy()

    def postprocessed(self, name="corrected") -> np.ndarray:
        columns = {
            "corrected": "rlnFourierShellCorrelationCorrected",
            "unmasked": "rlnFourierShellCorrelationUnmaskedMaps",
            "masked": "rlnFourierShellCorrelationMaskedMaps",
            "randomised": "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
        }
        return np.asarray(read_star(self.root / "postprocess/postprocess.star")["fsc"][columns[name]])


def configuration(particles, truth, output, name, **changes) -> RunConfig:
    """Refinement of a STAR file against the reference of the set `truth`."""
    content = {
        "name": name,
        "particles": particles,
        "reference": truth / "reference.mrc",
        "particle_diameter_angst": DIAMETER_ANGST,
        "symmetry": "D4",
        "truth": {"particles": truth / "truth.star", "map": truth / "true_map.mrc", "mask": truth / "mask.mrc"},
        "compute": {"device": "cpu", "shards_per_half": 3},
        "output": output,
    }
    return RunConfig.model_validate(content | changes)


def refine(particles, truth, output, name="run", **changes) -> Run:
    """Refine to the end in this process."""
    return Run(autorefine(configuration(particles, truth, output, name, **changes)), truth)


def refine_iterations(truth, output, iterations, backwards=False, **changes) -> Path:
    """The first iterations on a coarse grid, step by step; backwards: last shards and half 2 first."""
    sampling = {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 2}
    limits = {"max_iterations": 3, "keep_iterations": 9}
    config = configuration(
        truth / "particles.star", truth, output, "run", sampling=sampling, refinement=limits, **changes
    )
    run, order = config.run_dir, -1 if backwards else 1
    steps.import_run(config)
    steps.start(run)
    for iteration in range(1, iterations + 1):
        for half in (1, 2)[::order]:
            for shard in range(steps.shards(run, half))[::order]:
                steps.expectation_shard(run, iteration, half, shard)
            steps.reduce_subset(run, iteration, half)
        steps.denoise_and_trail(run, iteration)
        state = steps.converge(run, iteration)
    if state.converged:
        steps.postprocess(run)
    return run


def chance(shell: np.ndarray) -> np.ndarray:
    """Standard deviation of the FSC of two independent noise maps of D4, by shell.

    A shell of radius s has 4 pi s^2 coefficients, half of them complex and independent, an eighth of those by
    symmetry; the real part of a correlation of n complex numbers has variance 1 / 2n.
    """
    return np.sqrt(SYMMETRY_OPERATORS / (4 * np.pi * np.asarray(shell, dtype=float) ** 2))


def shell_of(resolution_angst) -> int:
    """Shell of a resolution; 0 where nothing is resolved."""
    return 0 if resolution_angst is None else round(BOX_ANGST / resolution_angst)


def expected_from_halves(half_fsc: np.ndarray) -> np.ndarray:
    """FSC with the truth that the average of both halves has where the FSC of the halves is right."""
    return np.sqrt(2 * half_fsc.clip(0) / (1 + half_fsc.clip(0)))


def describe(run: Run) -> str:
    """Everything about a run on one page, for people."""
    lines = [
        f"{s.iteration:3d} order {s.search.healpix_order} size {s.search.current_size_px} res {s.resolution_angst:.2f} "
        f"pmax {s.average_pmax:.3f} acc {s.references.best_accuracy_rotation_deg} change {s.change_rotation_deg}"
        for s in run.states
    ]
    kept = ("resolution_angst", "unmasked_resolution_angst", "mask_used", "truth", "warnings")
    lines += [json.dumps({key: run.summary[key] for key in kept})]
    initial = torch.from_numpy(read_volume(run.root / "run_it000_half1_class001.mrc")[0])
    columns = {
        "half": run.half_fsc,
        "corr": run.postprocessed("corrected"),
        "loop": run.last.references.fsc[0],
        "truth": run.against(run.true_map),
        "initial": run.against(initial),
        "init-truth": fsc(initial, run.true_map).numpy(),
    }
    lines.append(" shell    Å  " + " ".join(f"{name:>10}" for name in columns))
    for shell in range(1, run.last.facts.n_shells):
        values = " ".join(f"{curve[shell]:10.3f}" for curve in columns.values())
        lines.append(f"{shell:5d} {BOX_ANGST / shell:6.1f} {values}")
    return "\n".join(lines)
