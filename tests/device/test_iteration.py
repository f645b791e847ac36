"""A whole iteration on the pretend device: nothing mixes devices, and the host waits no more often than is stated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pretend import Pretend

from blush.config import RunConfig
from blush.expectation.device_memory import CONTEXT_BYTES
from blush.io.files import load_npz
from blush.jobs import expect, steps
from blush.jobs.autorefine import iterate
from blush.jobs.gpu_memory import map_bytes
from blush.jobs.layout import RunFolder
from blush.refine.state import load_state
from blush.regularise.select import regulariser

WAITS_OF_A_BLOCK, WAITS_OF_A_SHARD, WAITS_OF_MAPS = 1, 5, 18
"""As docs/gpu.md states them; more is a mistake, less is to be written there."""


@pytest.fixture
def run_of(few_particles: Path, tmp_path: Path) -> Callable[..., Path]:
    """A run that has been imported and started."""

    def make(name: str, device: str, **changes: Any) -> Path:
        settings = {
            "name": name,
            "particles": few_particles / "particles.star",
            "reference": few_particles / "reference.mrc",
            "particle_diameter_angst": 170,
            "symmetry": "D4",
            "sampling": {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 2},
            "refinement": {"max_iterations": 3},
            "compute": {"device": device, "memory_gb": 1, "shards_per_half": 1},
            "output": tmp_path,
        }
        config = RunConfig.model_validate(settings | changes)
        steps.import_run(config)
        steps.start(config.run_dir)
        return config.run_dir

    return make


def shard_waits(run: Path, iteration: int) -> int:
    with Pretend():
        return shard_waits_of(run, iteration, 2, 0)


def shard_waits_of(run: Path, iteration: int, subset: int, shard: int) -> int:
    device = Pretend.now()
    device.synchronisations.clear()
    steps.expectation_shard(run, iteration, subset, shard)
    return device.synchronisations.total()


def test_the_waits_of_a_block_a_shard_and_the_maps(run_of, monkeypatch):
    """The second half's shard, which measures no accuracies; in blocks of 12 images and of 4."""
    with Pretend():
        run = run_of("waits", "cuda")
        steps.expectation_shard(run, 1, 1, 0)
    assert shard_waits(run, 1) == WAITS_OF_A_BLOCK + WAITS_OF_A_SHARD
    with Pretend() as device:
        for half in (1, 2):
            steps.reduce_subset(run, 1, half)
        device.synchronisations.clear()
        expect._prepared.clear()
        device.memory.mark()
        steps.denoise_and_trail(run, 1)
    assert device.synchronisations.total() <= WAITS_OF_MAPS
    radius = load_state(RunFolder(run).state(0)).search.current_size_px // 2
    stated = map_bytes(32, radius, 4) - CONTEXT_BYTES
    assert device.memory.peak <= stated <= 1.5 * device.memory.peak
    with Pretend():
        steps.converge(run, 1)
        steps.expectation_shard(run, 2, 1, 0)
    monkeypatch.setattr("blush.expectation.device_memory.LARGEST_BLOCK", 4)
    assert shard_waits(run, 2) == 3 * WAITS_OF_A_BLOCK + WAITS_OF_A_SHARD


def test_it_finds_what_the_cpu_finds(run_of):
    """Same poses and spectra, to the rounding of float32: the device's code in place of the compiled kernels."""
    cpu = run_of("cpu", "cpu")
    iterate(cpu, 1)
    with Pretend():
        run = run_of("pretend", "cuda")
        iterate(run, 1)
    one, two = (load_npz(RunFolder(folder).poses(1)) for folder in (cpu, run))
    for name in ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst"):
        assert (np.abs(one[name] - two[name]) < 1e-3).mean() >= 23 / 24, name
    first, second = (load_npz(RunFolder(folder).spectra(1))["fsc"] for folder in (cpu, run))
    np.testing.assert_allclose(first, second, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", [
    "none", "lowpass", "nonuniform", "red",
    *(pytest.param(one, marks=pytest.mark.slow) for one in ("sidesplitter", "localwiener")),
    pytest.param("blush", marks=[pytest.mark.slow, pytest.mark.thorough]),
])  # fmt: skip
def test_every_regulariser_keeps_to_its_device(name, run_of):
    try:
        with Pretend():
            run = run_of(name, "cuda", regulariser={"name": name})
            iterate(run, 1)
    finally:
        regulariser.cache_clear()  # a network that stays on the device
    assert RunFolder(run).spectra(1).is_file()


@pytest.mark.parametrize("job", ["refine", "classify"])
def test_known_poses_keep_to_their_device(job, run_of, few_particles):
    """Local searches, and classes at the poses that images have."""
    own = {"classification": {"classes": 2, "max_iterations": 1}} if job == "classify" else {}
    with Pretend():
        run = run_of(job, "cuda", job=job, particles=few_particles / "truth.star", **own,
                     refinement={"max_iterations": 2, "start_from": "poses"} if job == "refine" else {})  # fmt: skip
        subset = steps.subsets(run)[-1]
        for shard in steps.missing_shards(run, 1, subset)[1:]:
            steps.expectation_shard(run, 1, subset, shard)
        waits = sum(shard_waits_of(run, 1, subset, shard) for shard in steps.missing_shards(run, 1, subset)[:1])
        iterate(run, 1)
    assert waits <= WAITS_OF_A_BLOCK + WAITS_OF_A_SHARD
    assert RunFolder(run).spectra(1).is_file()
