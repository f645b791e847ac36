"""The formula of peak memory against the arrays it counts, and against a process where poses are given.

`benchmarks/memory.py` compares it with the processes of a refinement.
"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_problem import BOX, COARSE, PIXELS, RADIUS, model, particle_set, rivals

from blush.expectation.coarse import GlobalSearch
from blush.expectation.fixed import FixedPoses
from blush.expectation.memory import StepSize, peak_bytes
from blush.expectation.shard import Expectation
from blush.fourier.backproject import empty_accumulator
from blush.fourier.packed import packed
from blush.kernels.shifts import ramps_made_once

PROCESS_BYTES = 290_000_000
"""Measured: Python with torch 2.13."""
LARGEST_BLOCK, LOCAL_NEIGHBOURS = 256, 350
"""Images at once, as a CPU's caches like it; orientations of a local search, rounded up."""


def nbytes(*tensors: torch.Tensor) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.fixture
def step(tmp_path, real) -> Expectation:
    particles = particle_set(tmp_path, torch.zeros(3, BOX, BOX).numpy())
    return Expectation(model(real), particles, real, torch.device("cpu"))


@pytest.fixture
def size(step) -> StepSize:
    orientations = step.model.component.grid.n_orientations
    return StepSize(BOX, RADIUS, COARSE, orientations, len(step.offsets.coarse_px), step.dtype.itemsize)


def test_volumes_are_the_sphere_and_the_accumulator(step, size):
    sums = empty_accumulator(BOX, RADIUS, dtype=step.dtype)
    assert size.peak(1).volumes == nbytes(step.model.component.sphere.values, sums.grid)
    assert size.peak(1).result == nbytes(sums.grid[..., :3])


def phases_made(step: Expectation) -> torch.Tensor:
    """Those of the fine shifts, which the kernels of a CPU make and keep."""
    vectors = step.offsets.shared.vectors
    return ramps_made_once(vectors.px, vectors.kx, vectors.ky, vectors.box_px, step.dtype)


def test_slices_are_those_of_the_grid_and_the_ramps_of_fine_shifts(step, size):
    search = GlobalSearch(step.model, step.pixels, step.dtype)
    assert size.peak(1).slices == nbytes(search.tile(0, 0, step.model.component.n_rows), phases_made(step))


def test_scores_of_a_block_are_part_of_the_first_pass(step, size):
    poses = 7 * len(step.offsets.coarse_px) * step.model.component.grid.n_orientations
    images = 8 * BOX**2 * 7 * step.dtype.itemsize
    assert size.peak(7).first_pass > images + 2 * poses * step.dtype.itemsize


def test_the_block_of_a_step_follows_its_size(step, size):
    for memory in (1.0, 1e7, 1e9):
        assert step._size().block_size(memory) == size.block_size(memory)


def test_the_total_counts_what_lives_at_once():
    small = StepSize(256, 10, 8, 4608, 21, 4).peak(1)
    assert small.total == PROCESS_BYTES + small.transform  # a large box at low resolution: its transform is the peak
    large = StepSize(256, 128, 15, 4608, 21, 4).peak(1)
    assert large.total == PROCESS_BYTES + large.volumes + large.slices + large.result
    flat = StepSize(64, 32, 15, 4608, 21, 4).peak(40)
    assert flat.total == PROCESS_BYTES + flat.volumes + flat.slices + flat.second_pass


def test_each_pair_of_the_second_pass_is_counted_until_a_batch_is_full():
    peaks = [StepSize(64, 32, 15, 4608, 21, 4).peak(b) for b in (1, 2, 5, 6, 7)]
    assert peaks[1].second_pass > 1.99 * peaks[0].second_pass - 1e6
    # 6 x 96,768 poses are more than 2^19: only images and indices grow from there on.
    assert peaks[4].second_pass - peaks[3].second_pass == 8 * 4 * 64**2 + 28 * 21 * 4608


def test_slices_beyond_the_cache_are_held_by_tiles():
    few, many = (StepSize(128, 64, 40, orientations, 21, 4).peak(1).slices for orientations in (4608, 294912))
    assert many - 4 * 8 * 21 * packed(128).inside(64) == 4 * 4 * 1024 * packed(128).inside(40)
    assert few > many  # all slices of the small grid


@pytest.mark.parametrize("itemsize", [4, 8])
def test_peak_bytes_is_the_total(itemsize):
    assert peak_bytes(64, 30, 12, 4608, 21, 8, itemsize) == StepSize(64, 30, 12, 4608, 21, itemsize).peak(8).total


@pytest.mark.parametrize("local", [False, True])
@pytest.mark.parametrize("memory", [1.0, 1e8, 1e9, 4e9, 1e11])
def test_a_block_takes_a_quarter_of_the_memory_at_most(local, memory):
    size = StepSize(64, 32, 15, LOCAL_NEIGHBOURS if local else 4608, 21, 4, local)
    block = size.block_size(memory)
    assert 1 <= block <= LARGEST_BLOCK
    kept = LOCAL_NEIGHBOURS * (3 * packed(64).inside(15) + 42) if local else 3 * 21 * 4608
    per_image = 4 * (6 * 64**2 + kept)
    assert block == 1 or block * per_image <= memory / 4
    caches = 2**27 if local else 2**28
    assert block == LARGEST_BLOCK or (block + 1) * per_image > min(memory / 4, caches)


def test_the_terms_are_named_in_gigabytes():
    text = str(StepSize(256, 128, 15, 4608, 21, 4).peak(1))
    assert text.startswith("process 0.29, transform 1.21, volumes 1.68")


@pytest.mark.parametrize("n", [1, 2, 3])
def test_maps_and_sums_side_by_side_are_counted(n, tmp_path):
    step = Expectation(rivals(n, fixed_poses=True), particle_set(tmp_path, torch.zeros(3, BOX, BOX).numpy()),
                       torch.float64, torch.device("cpu"))  # fmt: skip
    fixed, spheres = FixedPoses(step.model, PIXELS), [one.sphere.values for one in step.model.component.references]
    sums = fixed.empty_sums()
    size = StepSize(BOX, RADIUS, COARSE, 72 * n, len(step.offsets.coarse_px), 8, references=n, fixed=True)
    assert size.peak(1).volumes == nbytes(*spheres, fixed.maps.values, sums.grid)
    assert size.peak(1).result == nbytes(*(volume.grid for volume in sums.unpack()))
    assert size.peak(1).slices == nbytes(phases_made(step))
    for memory in (1.0, 1e5, 1e9):
        assert step._size().block_size(memory) == size.block_size(memory)


def test_many_references_have_lanes_in_groups_of_eight():
    """Five to eight have eight lanes of two channels of maps and three of sums; nine have sixteen."""
    size = StepSize(64, 20, 10, 1, 1, 4, fixed=True)
    cells = (2 * 43 + 1) ** 2 * 44
    for n, lanes in ((5, 8), (8, 8), (9, 16)):
        assert replace(size, references=n).peak(1).volumes == 4 * cells * (2 * n + 5 * lanes)


def test_a_block_of_given_poses_takes_a_quarter_of_the_memory_at_most():
    size = StepSize(64, 20, 10, 1, 1, 4, references=3, fixed=True)
    per_image = 4 * 8 * 64**2 + 12_000
    assert size.peak(7).first_pass == 7 * per_image
    assert size.block_size(4e8) == 64 * (1e8 // (64 * per_image))  # in parts of 64
    assert size.block_size(1e12) == 4096
    assert size.block_size(1.0) == 1


@pytest.mark.parametrize("references", [1, 4])
def test_spheres_made_before_stay_while_the_last_is_made(references):
    for fixed in (False, True):
        one, some = (StepSize(64, 20, 10, 1, 1, 4, references=n, fixed=fixed).peak(1) for n in (1, references))
        sphere = 8 * (2 * 43 + 1) ** 2 * 44
        assert some.transform - one.transform == (references - 1) * sphere


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which tells a process's peak")
@pytest.mark.parametrize(("box", "radius", "references", "images"), [
    (64, 32, 9, 64),
    pytest.param(96, 48, 3, 64, marks=pytest.mark.slow),
    pytest.param(64, 31, 2, 4000, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_process_takes_what_the_formula_says(box, radius, references, images, tmp_path):
    """Volumes decide in the first two, images in the last.

    What the allocator keeps of what was freed differs from run to run, so a process may take less by that.
    """
    script = Path(__file__).with_name("fixed_peak.py")
    sizes = (str(x) for x in (box, radius, references, images, tmp_path))
    done = subprocess.run([sys.executable, str(script), *sizes], check=True, capture_output=True, text=True)
    peak, formula, held_back = (int(x) for x in done.stdout.split())
    assert 0.8 * (formula - held_back) <= peak <= formula
