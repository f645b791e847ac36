"""Expected accuracy of poses: how far one may be off before the likelihood ratio falls to 0.01.

See docs/algorithm.md, section 6.
"""

from __future__ import annotations

import torch
from torch import Tensor

from blush.fourier.packed import Packed
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases
from blush.fourier.transform import Sphere
from blush.geometry.rotation import matrix_from_euler
from blush.io.upload import uploaded

LOG_RATIO = 4.60517
ROTATION_STEPS_DEG = ((0.2, 0.05), (1, 0.1), (2, 0.2), (5, 0.5), (10, 1), (20, 2), (30, 5))
PARTICLES = 100
"""Particles whose accuracies are averaged."""
BYTES_AT_ONCE = 2**27
SHIFT_STEPS_PX = ((1, 0.1), (2, 0.2), (5, 0.5), (10, 1))


def ladder(steps: tuple[tuple[float, float], ...]) -> Tensor:
    """Perturbations tried in turn: (limit, step) pairs, each step used up to its limit."""
    values, current = [], 0.0
    for limit, step in steps:
        while current < limit - 1e-9:
            current += step
            values.append(current)
    return torch.tensor(values, dtype=torch.float64)


def bytes_per_particle(pixels: int, itemsize: int) -> int:
    """Peak of one particle: slices of every rotation tried and their differences, in float and in double."""
    return len(ladder(ROTATION_STEPS_DEG)) * pixels * (4 * itemsize + 32)


def expected_accuracy(
    sphere: Sphere, rot_tilt_psi_deg: Tensor, transfer: Tensor, noise: Tensor, pixels: Packed, radius: int, seed: int
) -> tuple[float, float]:
    """Mean rotation (degrees) and shift (pixels) at which 2 D^2 reaches ln 100, over the given particles.

    Particles are taken a few at a time, so that memory does not grow with their number: at most `BYTES_AT_ONCE`, or
    what one particle takes.

    Parameters
    ----------
    rot_tilt_psi_deg
        (n, 3) poses; one random Euler angle and one random axis of each is perturbed.
    transfer
        (n, p) scale times CTF within `radius`, or scale times CTF^2 where images are premultiplied.
    noise
        (n, N/2 + 1) sigma^2 of each particle.
    """
    count, n = transfer.shape
    generator = torch.Generator().manual_seed(seed)
    angle = uploaded(torch.randint(0, 3, (count,), generator=generator), transfer.device)
    axis = uploaded(torch.randint(0, 2, (count,), generator=generator), transfer.device)
    at_once = max(1, BYTES_AT_ONCE // bytes_per_particle(n, transfer.dtype.itemsize))
    shell = pixels.shell[:n]
    rotation, shift = [], []
    for begin in range(0, count, at_once):
        part = slice(begin, begin + at_once)
        weight = transfer[part].double().square() / (2 * noise[part][:, shell])
        weight[:, 0] = 0  # the likelihood leaves the origin out, whose noise may be 0
        true = project(sphere, matrix_from_euler(rot_tilt_psi_deg[part]), pixels, n)
        rotation.append(_rotation(sphere, rot_tilt_psi_deg[part], angle[part], true, weight, pixels))
        shift.append(_shift(axis[part], true, weight, pixels))
    rotation_deg, shift_px = torch.stack([torch.cat(one).mean() for one in (rotation, shift)]).tolist()
    return rotation_deg, shift_px


def _rotation(sphere: Sphere, euler_deg: Tensor, angle: Tensor, true: Tensor, weight: Tensor, pixels: Packed) -> Tensor:
    """(n,) degrees by which the chosen Euler angle of each particle has to change."""
    n, device = weight.shape[1], weight.device
    steps = uploaded(ladder(ROTATION_STEPS_DEG), device)
    moved = euler_deg[:, None] + steps[:, None] * torch.eye(3, dtype=torch.float64, device=device)[angle][:, None]
    slices = project(sphere, matrix_from_euler(moved).flatten(0, 1), pixels, n).view(len(true), len(steps), 2, n)
    return _first_above(slices.sub_(true[:, None]).double().square().sum(2), weight, steps)


def _shift(axis: Tensor, true: Tensor, weight: Tensor, pixels: Packed) -> Tensor:
    """(n,) pixels by which each particle has to move along the chosen axis."""
    n, device = weight.shape[1], weight.device
    steps = uploaded(ladder(SHIFT_STEPS_PX), device)
    offset = steps[:, None] * torch.eye(2, dtype=torch.float64, device=device)[axis][:, None]
    ramps = phases(offset, pixels, n, true.dtype)
    difference = multiply(true[:, None], ramps).sub_(true[:, None])
    return _first_above(difference.double().square().sum(2), weight, steps)


def _first_above(square: Tensor, weight: Tensor, steps: Tensor) -> Tensor:
    """First step of each particle whose weighted difference exceeds the limit; the last one if none does."""
    ratio = torch.einsum("nsp,np->ns", square, weight)
    above = ratio > LOG_RATIO
    first = torch.where(above.any(1), above.double().argmax(1), len(steps) - 1)
    return steps[first]
