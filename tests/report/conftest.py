"""A run folder as a refinement leaves it: three iterations, real postprocessing of a small map, simulated truth."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from browser import Browser

from blush.fourier.filter import low_pass
from blush.fourier.mask import soft_sphere
from blush.geometry.rotation import random_directions
from blush.io.files import save_npz, write_json
from blush.io.mrc import write_volume
from blush.jobs.layout import RunFolder
from blush.jobs.orientation import Source, measure, write_curves
from blush.refine.control import ControlSettings
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State, save_state
from blush.validate.local_resolution import local_resolution_files
from blush.validate.postprocess_files import MaskSource, postprocess_files

BOX, PIXEL, N = 24, 3.0, 40
SHELLS = BOX // 2 + 1


def state_after(iteration: int) -> State:
    """State of a refinement that improves; the third iteration is the final one."""
    curve = 1 / (1 + np.exp(np.arange(SHELLS) - 4.0 - 2 * iteration))
    geometry = ParticleGeometry(BOX, PIXEL, particle_diameter_angst=50.0, symmetry="D2", n_groups=1)
    sampling = FirstSampling(2 + iteration // 2, 9.0, 3.0, local=iteration >= 2)
    state = first_state(geometry, sampling, ControlSettings(), np.ones((2, 1, SHELLS)), seed=1, first_cc=True)
    measured = iteration >= 2
    return replace(
        state,
        iteration=iteration,
        final=iteration == 2,
        converged=iteration == 3,
        stop_reason="converged" if iteration == 3 else "",
        search=replace(state.search, current_size_px=14 + 3 * iteration),
        references=replace(
            state.references,
            fsc=curve[None],
            accuracy_rotation_deg=(4.0 / iteration if measured else None,),
            accuracy_offset_angst=(2.0 / iteration if measured else None,),
        ),
        resolution_angst=30.0 / (1 + iteration),
        change_rotation_deg=20.0 / (1 + iteration),
        change_offset_angst=3.0,
        average_pmax=0.2 * iteration,
    )


def write_iterations(root: Path) -> None:
    """States, diagnostics, poses and log; the last log line is cut, as by a writer at work."""
    folder, random = RunFolder(root), np.random.default_rng(1)
    lines = [{"time": 1000.0, "stage": "start", "iteration": 0, "seconds": 1.0, "cpu_seconds": 1.0}]
    for n in range(4):
        save_state(folder.state(n), state_after(n))
        if n == 0:
            continue
        regulariser = {"name": "wiener", "asked_for": "cref" if n == 1 else "wiener", "waits_for": "local searches",
                       "damping": [np.linspace(1, 0.1, SHELLS).tolist()] * 2, "cross_over_shell": None,
                       "power_ratio": [np.linspace(1, 0.01, SHELLS).tolist()] * 2,
                       "fsc_in": np.linspace(1, 0, SHELLS).tolist(), "fsc_out": np.linspace(1, 0.1, SHELLS).tolist(),
                       "trailing_shell": 9,
                       "certificate": {"verdict": "holds", "words": ["error <below> Wiener's"]}}  # fmt: skip
        save_npz(folder.spectra(n), {"slices": random.normal(n, 1, (3, BOX, BOX)).astype(np.float32)})
        write_json(folder.diagnostics(n), {"iteration": n} | ({} if n == 3 else {"regulariser": regulariser}))
        for half in (1, 2):
            start = 1000.0 + 100 * n
            common = {"iteration": n, "subset": f"half{half}", "shard": 0, "total": N // 2, "device": "cpu"}
            lines += [
                {"time": start + done, "stage": stage, "seconds": float(done), "cpu_seconds": 0.5 * done, "done": done}
                | common
                for stage, done in (("expectation", 10), ("expectation", N // 2), ("shard", N // 2))
            ]
        lines.append(
            {"time": 1050.0 + 100 * n, "stage": "converge", "iteration": n, "seconds": 2.0, "cpu_seconds": 1.5}
        )
    poses = {
        "rot_deg": random.uniform(-180, 180, N), "tilt_deg": np.rad2deg(np.arccos(random.uniform(-1, 1, N))),
        "psi_deg": random.uniform(-180, 180, N), "offset_x_angst": random.normal(0, 3, N),
        "offset_y_angst": random.normal(0, 3, N), "pmax": random.uniform(0, 1, N),
        "n_significant": random.integers(1, 50, N).astype(float), "norm_correction": np.ones(N),
    }  # fmt: skip
    save_npz(folder.poses(3), poses)
    text = "".join(json.dumps(line) + "\n" for line in lines)
    folder.progress.write_text(text + '{"time": 1400.0, "sta')


def write_results(root: Path) -> None:
    """Half-maps, postprocessing, truth and summary."""
    generator = torch.Generator().manual_seed(1)
    truth = low_pass(torch.randn(BOX, BOX, BOX, generator=generator) * soft_sphere(BOX, 6, 2), 7.0, PIXEL)
    halves = [root / f"run_half{half}_class001_unfil.mrc" for half in (1, 2)]
    for path in halves:
        noisy = truth + 0.2 * torch.randn(truth.shape, generator=generator)
        write_volume(path, noisy.numpy(), PIXEL)
    write_volume(root / "run_class001.mrc", truth.numpy(), PIXEL)
    postprocess_files(root / "postprocess", *halves, MaskSource(particle_diameter_angst=45.0), 1)
    local_resolution_files(root / "postprocess", *halves, 1, None, 0.0)
    curve = np.linspace(1, 0, SHELLS).tolist()
    poses = {"angle_median_deg": 1.25, "shift_median_angst": 0.5}
    write_json(root / "postprocess/truth.json", {"fsc": curve, "resolution_angst": 12.3456, "poses": poses})
    views = random_directions(N, torch.Generator().manual_seed(1))
    source = Source(*halves, root / "postprocess/mask.mrc", views, "D2", 1)
    found = measure(source)
    write_curves(root / "postprocess/orientation.npz", found.orientation, source)
    write_json(root / "summary.json", found.record() | {
        "name": "fake", "box_px": BOX, "pixel_size_angst": PIXEL,
        "versions": {"blush": "0.1.0", "torch": "2.13"}, "seed": 1, "warnings": ["look <here>"],
        "timing": {"stages": {}, "wall_seconds": 12.0, "peak_memory_gb": 0.5},
        "resolution_angst": 7.5, "iterations": 3, "stop_reason": "converged", "particles": {"total": N},
    })  # fmt: skip


def write_import(root: Path) -> None:
    config = {"name": "fake", "symmetry": "D2", "regulariser": {"name": "wiener"}, "truth": None}
    write_json(root / "import/config.json", config)
    rows = np.arange(N)
    save_npz(root / "import/plan.npz", {"rows_half1": rows[::2], "rows_half2": rows[1::2]})


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("results") / "fake"
    write_import(root)
    write_iterations(root)
    write_results(root)
    return root


@pytest.fixture
def running(tmp_path) -> Path:
    """A run that has just begun its second iteration."""
    root = tmp_path / "fake"
    write_import(root)
    folder = RunFolder(root)
    for n in (0, 1):
        save_state(folder.state(n), state_after(n))
    return root


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
