"""Speed of each stage of the expectation step on one core, beside the plain matrix product that bounds it.

    python benchmarks/kernels.py [--device cpu|cuda] [--json FILE]

Prints CPU seconds (wall seconds on a GPU) per unit of work; a pixel evaluation is one complex coefficient of one
(particle, shift, orientation). Seeds and shapes are fixed, so two runs differ by the machine alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from blush.expectation.coarse import GlobalSearch, Weighted
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.significance import posterior_cut
from blush.expectation.sparse import Pairs, WeightedSums, accumulate_pairs, score_pairs
from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.shift import phases
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.sampling import OrientationGrid, fine_offsets, offset_grid
from blush.kernels.shifts import Shifts

PARTICLES, REPEATS = 64, 3


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the fastest of a few runs, after one to warm up."""
    work()
    best = float("inf")
    for _ in range(REPEATS):
        if device.type == "cuda":
            torch.cuda.synchronize()
        clock = time.process_time if device.type == "cpu" else time.perf_counter
        begin = clock()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - begin)
    return best


def problem(box: int, radius: int, device: torch.device) -> tuple[Model, Weighted]:
    """A global search of order 2 over random images that are compared within `radius`."""
    generator = torch.Generator().manual_seed(box)
    volume = torch.randn(box, box, box, generator=generator).to(device)
    shells = box // 2 + 1
    grid = OrientationGrid.build(2, "C1", 0.1)
    offsets = offset_grid(5.0, 2.0)
    component = Component((Reference(transform(volume, radius)),), grid)
    model = Model(
        component, 1.0, 0.8 * box, radius, radius, torch.ones(1, shells, dtype=torch.float64),
        torch.ones(1, dtype=torch.float64), 1.0, offsets, 2.0, 10.0,
    )  # fmt: skip
    n = packed(box, str(device)).inside(radius)
    images = torch.randn(PARTICLES, 2, n, generator=generator).to(device)
    return model, Weighted(images, torch.rand(PARTICLES, n).to(device), torch.zeros(PARTICLES, len(offsets)).to(device))


def first_pass(box: int, radius: int, device: torch.device) -> dict[str, float]:
    """Global search and the plain matrix product of the same shape."""
    model, block = problem(box, radius, device)
    pixels = packed(box, str(device))
    search = GlobalSearch(model, pixels, torch.float32)
    grid, n, t = model.component.grid, search.n_pixels, len(model.offsets_angst)
    ramps = phases(model.offsets_angst.to(device), pixels, n, torch.float32)
    seconds = timed(lambda: search.search(block, ramps), device)
    rows = torch.randn(PARTICLES * t, 2 * n, device=device)
    slices = torch.randn(grid.n_orientations, 2 * n, device=device)
    plain = timed(lambda: rows @ slices.T, device)
    evaluations = PARTICLES * t * grid.n_orientations * n
    return {"pixels": n, "evaluations_per_s": evaluations / seconds, "plain_product_per_s": evaluations / plain}


def second_pass(box: int, radius: int, device: torch.device) -> dict[str, float]:
    """Scores, cut and weighted sums of 40 coarse pairs per particle, each with 32 children."""
    model, block = problem(box, radius, device)
    pixels = packed(box, str(device))
    n, t = pixels.inside(radius), len(model.offsets_angst)
    fine = Shifts(fine_offsets(model.offsets_angst.to(device), 2.0), pixels.kx[:n], pixels.ky[:n], box)
    image = torch.arange(PARTICLES, device=device).repeat_interleave(40)
    orientation = torch.arange(40, device=device).repeat(PARTICLES) // 4
    shift = torch.arange(40, device=device).repeat(PARTICLES) % 4 % t
    pairs = Pairs(image, shift, orientation)
    slices = torch.randn(10, 8, 2, n, device=device)
    prior = torch.zeros(len(pairs), device=device)
    arguments = (pairs, block.cross, block.power, fine, slices, prior, False)
    score = timed(lambda: score_pairs(*arguments), device)
    scores = score_pairs(*arguments).flatten(1)
    cut = timed(lambda: posterior_cut(scores, image, PARTICLES, 0.999), device)
    weight = posterior_cut(scores, image, PARTICLES, 0.999).weights(scores, image).view(-1, 4, 8)
    weight = torch.full_like(weight, 1e-3)
    sums = WeightedSums(torch.zeros(80, 2, n, device=device), torch.zeros(80, n, device=device),
                torch.zeros_like(block.cross), torch.zeros_like(block.power))  # fmt: skip
    add = timed(lambda: accumulate_pairs(pairs, weight, block.cross, block.power, fine, slices, sums), device)
    samples = len(pairs) * 32
    return {
        "score_evaluations_per_s": samples * n / score,
        "cut_ns_per_sample": 1e9 * cut / samples,
        "accumulate_ns_per_sample_pixel": 1e9 * add / (samples * n),
    }


def interpolation(box: int, radius: int, device: torch.device) -> dict[str, float]:
    """Slices and their insertion, for orientations near each other as in a local search."""
    pixels = packed(box, str(device))
    n = pixels.inside(radius)
    generator = torch.Generator().manual_seed(1)
    sphere = transform(torch.randn(box, box, box, generator=generator).to(device), radius)
    steps = 3.75 * torch.arange(-3, 4, dtype=torch.float64)
    rotations = matrix_from_euler(torch.tensor([30.0, 40.0, 50.0]) + torch.cartesian_prod(steps, steps, steps))
    sums = empty_accumulator(box, radius, device=device)
    data, weight = torch.randn(343, 2, n, device=device), torch.rand(343, n, device=device)
    taken = timed(lambda: project(sphere, rotations, pixels, n), device)
    given = timed(lambda: insert(sums, rotations, data, weight, pixels), device)
    return {"project_ns_per_sample": 1e9 * taken / (343 * n), "insert_ns_per_sample": 1e9 * given / (343 * n)}


def main() -> None:
    """Run every kernel at three sizes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(chosen.device)
    results = []
    for box, radius in ((64, 14), (64, 32), (128, 32), (128, 64)):
        row: dict[str, float] = {"box_px": box, "radius": radius}
        for kernel in (first_pass, second_pass, interpolation):
            row |= kernel(box, radius, device)
        results.append(row)
        print("  ".join(f"{key} {value:.3g}" for key, value in row.items()), flush=True)
    if chosen.json:
        machine = {"device": str(device), "processor": platform.processor(), "torch": torch.__version__}
        chosen.json.write_text(json.dumps({"machine": machine, "results": results}, indent=1))


if __name__ == "__main__":
    main()
