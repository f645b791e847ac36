"""Each stage of the expectation step on random numbers: how far from float64, and how near the limit of the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from blush.device import cost
from blush.device.clock import seconds
from blush.device.limits import Limits
from blush.expectation.sparse import Pairs, WeightedSums, accumulate_pairs, score_pairs
from blush.fourier.backproject import empty_accumulator, insert
from blush.fourier.packed import packed
from blush.fourier.project import project
from blush.fourier.transform import Sphere, transform
from blush.geometry.rotation import matrix_from_euler
from blush.kernels.score import CHILD_SHIFTS
from blush.kernels.shifts import Shifts

CHILDREN = 8
TOLERANCE = 2e-5
"""Of |found - float64| / |float64|: a hundred roundings of float32 are 6e-6, products in TF32 3e-4."""
Found = dict[str, Tensor]


@dataclass(frozen=True)
class Size:
    """Of the numbers that a stage is tried on."""

    box_px: int
    radius: int
    rows: int
    images: int
    shifts: int
    pairs: int


SMALL = Size(48, 20, 12, 8, 5, 200)
TIMED = {"cuda": Size(256, 112, 256, 256, 29, 8192), "cpu": Size(96, 40, 16, 16, 9, 256)}


@dataclass(frozen=True)
class Stage:
    """What was found of a stage.

    Attributes
    ----------
    error
        |found - float64| / |float64|, the largest of its results.
    share
        What the limit allows: the least time that its bytes and operations take at this device's rates, over its time.
    """

    name: str
    error: float
    seconds: float
    share: float
    flops: float
    least_bytes: float

    @property
    def passed(self) -> bool:
        """Whether it agrees with float64."""
        return self.error <= TOLERANCE


class Numbers:
    """Random operands of every stage, the same for the same seed, on a device and of a type."""

    def __init__(self, size: Size, device: torch.device, dtype: torch.dtype, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator).to(device, dtype)

        def choose(below: int, count: int) -> Tensor:
            return torch.randint(0, below, (count,), generator=generator)

        self.size, self.device, self.dtype = size, device, dtype
        self.pixels = packed(size.box_px, str(device))
        self.n = n = self.pixels.inside(size.radius)
        volume = torch.randn(size.box_px, size.box_px, size.box_px, generator=generator).to(dtype)
        sphere = transform(volume, size.radius)
        self.sphere = Sphere(sphere.values.to(device), sphere.box_px, sphere.r_max)
        angles = 360 * torch.rand(size.rows * CHILDREN, 3, generator=generator, dtype=torch.float64)
        self.rotations = matrix_from_euler(angles).to(device)
        image, orientation, shift = (
            choose(size.images, size.pairs),
            choose(size.rows, size.pairs),
            choose(size.shifts, size.pairs),
        )
        order = torch.argsort((image * size.rows + orientation) * size.shifts + shift, stable=True)
        self.pairs = Pairs(*(one[order].to(device) for one in (image, shift, orientation)))
        offsets_px = 3 * torch.randn(size.shifts, CHILD_SHIFTS, 2, generator=generator, dtype=torch.float64)
        self.shifts = Shifts(offsets_px.to(device), self.pixels.kx[:n], self.pixels.ky[:n], size.box_px)
        self.image, self.power = draw(size.images, 2, n), draw(size.images, n).abs()
        self.slices, self.prior = draw(size.rows, CHILDREN, 2, n), draw(size.pairs)
        self.weight = draw(size.pairs, CHILD_SHIFTS, CHILDREN).abs()
        self.data, self.data_weight = draw(size.rows * CHILDREN, 2, n), draw(size.rows * CHILDREN, n).abs()

    def shape(self) -> cost.Shape:
        """Sizes as the model of costs wants them."""
        s = self.size
        return cost.Shape(s.radius, self.n, self.n, s.images, s.shifts, s.rows * CHILDREN, False, s.pairs, s.rows)

    def project(self) -> Found:
        """Slices."""
        return {"slices": project(self.sphere, self.rotations, self.pixels, self.n)}

    def products(self) -> Found:
        """Scores of all shifts of all images with all slices, as the first pass makes them."""
        rows = self.image.flatten(1).repeat(self.size.shifts, 1)
        return {"cross": rows @ self.slices.flatten(0, 1).flatten(1).T}

    def score(self) -> Found:
        """Scores of pairs."""
        arguments = (self.pairs, self.image, self.power, self.shifts, self.slices, self.prior, False)
        return {"scores": score_pairs(*arguments)}

    def accumulate(self) -> Found:
        """Weighted sums of pairs."""
        slices = self.slices.flatten(0, 1)
        sums = WeightedSums(
            torch.zeros_like(slices),
            torch.zeros_like(slices[:, 0]),
            torch.zeros_like(self.image),
            torch.zeros_like(self.power),
        )
        accumulate_pairs(self.pairs, self.weight, self.image, self.power, self.shifts, self.slices, sums)
        return vars(sums)

    def insert(self) -> Found:
        """D and W."""
        sums = empty_accumulator(self.size.box_px, self.size.radius, dtype=self.dtype, device=self.device)
        insert(sums, self.rotations, self.data, self.data_weight, self.pixels)
        return {"grid": sums.grid}


STAGES: dict[str, Callable[[Numbers], Found]] = {
    "project": Numbers.project,
    "products of the first pass": Numbers.products,
    "score": Numbers.score,
    "accumulate": Numbers.accumulate,
    "insert": Numbers.insert,
}


def costs(shape: cost.Shape) -> dict[str, cost.Cost]:
    """Least work of each stage."""
    slices = shape.rows * CHILDREN
    return {
        "project": cost.project(shape.radius, slices, shape.pixels),
        "products of the first pass": cost.first_pass(shape),
        "score": cost.score(shape),
        "accumulate": cost.accumulate(shape),
        "insert": cost.insert(shape.radius, slices, shape.pixels),
    }


def disagreement(found: Found, exact: Found) -> float:
    """|found - exact| / |exact|, the largest over the results; infinite where a number is none."""
    worst = 0.0
    for name, one in exact.items():
        here = found[name].double().cpu()
        error = float(torch.linalg.vector_norm(here - one) / torch.linalg.vector_norm(one))
        worst = max(worst, error if error == error else float("inf"))
    return worst


def tried(device: torch.device, limits: Limits, seed: int) -> list[Stage]:
    """Every stage in float32 on a device."""
    here, exact = (
        Numbers(SMALL, device, torch.float32, seed), Numbers(SMALL, torch.device("cpu"), torch.float64, seed)
    )  # fmt: skip
    timed = Numbers(TIMED[device.type], device, torch.float32, seed + 1)
    least = costs(timed.shape())
    found = []
    for name, stage in STAGES.items():
        error = disagreement(stage(here), stage(exact))
        taken = seconds(lambda stage=stage: stage(timed), device)  # type: ignore[misc]
        share = least[name].least_seconds(limits) / taken
        found.append(Stage(name, error, taken, share, least[name].flops, least[name].least_bytes))
    return found
