"""What each stage of the expectation step has to do at the least: operations, and bytes of device memory.

Bytes count every input once and every output once, as if all that is reused stayed in a cache. A stage cannot be
faster than the larger of bytes over the rate of copies and operations over the rate of products.
"""

from __future__ import annotations

from dataclasses import dataclass

from blush.device.limits import Limits
from blush.fourier.transform import PADDING, sphere_radius
from blush.kernels.score import CHILD_SHIFTS

_COMPLEX, _REAL = 8, 4
_TAPS = 8
_CHILDREN = 8


@dataclass(frozen=True)
class Cost:
    """Work of a stage."""

    flops: float
    least_bytes: float

    def least_seconds(self, limits: Limits, precision: str = "float32") -> float:
        """The larger of the two times that the limits allow."""
        return max(self.flops / limits.flops_per_s[precision], self.least_bytes / limits.bytes_per_s)


@dataclass(frozen=True)
class Shape:
    """Sizes of a block.

    Attributes
    ----------
    radius
        Shells that are compared.
    pixels, coarse_pixels
        Those of a slice in the second and in the first pass.
    images, shifts
        Those of the block, and coarse shifts of each.
    coarse
        Orientations that each image is compared with in the first pass.
    own
        Whether those are its own, as in local searches: their slices serve no other image.
    pairs, rows
        Coarse poses kept, and different orientations among them.
    """

    radius: int
    pixels: int
    coarse_pixels: int
    images: int
    shifts: int
    coarse: int
    own: bool
    pairs: int
    rows: int


def _cells(radius: int) -> int:
    r = sphere_radius(radius, PADDING)
    return (2 * r + 1) ** 2 * (r + 1)


def project(radius: int, slices: int, pixels: int) -> Cost:
    """Slices of a sphere: eight taps of a complex number for each pixel; cells that are touched are read once."""
    samples = slices * pixels
    return Cost(samples * (4 * _TAPS + 30), _COMPLEX * samples + _COMPLEX * min(_cells(radius), _TAPS * samples))


def first_pass(shape: Shape) -> Cost:
    """Products of shifted images and slices, and of powers; scores are not written."""
    slices = shape.coarse * (shape.images if shape.own else 1)
    compared = shape.images * shape.coarse * shape.coarse_pixels
    products = Cost(
        compared * (4 * shape.shifts + 2),
        shape.images * shape.coarse_pixels * (_COMPLEX + _REAL) + slices * shape.coarse_pixels * _COMPLEX,
    )
    return products


def score(shape: Shape) -> Cost:
    """Products of the images of pairs at their four shifts and the children of their orientation; powers."""
    samples = shape.pairs * CHILD_SHIFTS * _CHILDREN
    flops = shape.pairs * shape.pixels * (6 * CHILD_SHIFTS + 4 * CHILD_SHIFTS * _CHILDREN + 3 * _CHILDREN)
    return Cost(flops, _operands(shape) + _REAL * samples)


def accumulate(shape: Shape) -> Cost:
    """The weighted images of every child of an orientation, and what the model predicts of every image."""
    samples = shape.pairs * CHILD_SHIFTS * _CHILDREN
    flops = shape.pairs * shape.pixels * _CHILDREN * (4 * CHILD_SHIFTS + 2 * 8 + 2 * 2)
    rows = shape.rows * _CHILDREN * shape.pixels * (_COMPLEX + _REAL)
    return Cost(flops, _operands(shape) + _REAL * samples + rows + shape.images * shape.pixels * (_COMPLEX + _REAL))


def insert(radius: int, slices: int, pixels: int) -> Cost:
    """Slices into D and W: eight taps of three numbers for each pixel; cells that are touched are read and written."""
    samples = slices * pixels
    cells = min(_cells(radius), _TAPS * samples)
    return Cost(samples * (6 * _TAPS + 30), samples * (_COMPLEX + _REAL) + 2 * cells * (_COMPLEX + _REAL))


def _operands(shape: Shape) -> float:
    """Bytes of images, their powers, slices, and the ramps of fine shifts."""
    images = shape.images * shape.pixels * (_COMPLEX + _REAL)
    slices = shape.rows * _CHILDREN * shape.pixels * _COMPLEX
    return images + slices + shape.shifts * CHILD_SHIFTS * shape.pixels * _COMPLEX
