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

LOG_RATIO = 4.60517
ROTATION_STEPS_DEG = ((0.2, 0.05), (1, 0.1), (2, 0.2), (5, 0.5), (10, 1), (20, 2), (30, 5))
SHIFT_STEPS_PX = ((1, 0.1), (2, 0.2), (5, 0.5), (10, 1))


def ladder(steps: tuple[tuple[float, float], ...]) -> Tensor:
    """Perturbations tried in turn: (limit, step) pairs, each step used up to its limit."""
    values, current = [], 0.0
    for limit, step in steps:
        while current < limit - 1e-9:
            current += step
            values.append(current)
    return torch.tensor(values, dtype=torch.float64)


def expected_accuracy(
    sphere: Sphere, rot_tilt_psi_deg: Tensor, transfer: Tensor, noise: Tensor, pixels: Packed, radius: int, seed: int
) -> tuple[float, float]:
    """Mean rotation (degrees) and shift (pixels) at which 2 D^2 reaches ln 100, over the given particles.

    Parameters
    ----------
    rot_tilt_psi_deg
        (n, 3) poses; one random Euler angle and one random axis of each is perturbed.
    transfer
        (n, p) scale times CTF within `radius`.
    noise
        (n, N/2 + 1) sigma^2 of each particle.
    """
    n, device = transfer.shape[1], transfer.device
    generator = torch.Generator().manual_seed(seed)
    weight = transfer.double().square() / (2 * noise.to(device)[:, pixels.shell[:n]])
    weight[:, 0] = 0
    true = project(sphere, matrix_from_euler(rot_tilt_psi_deg), pixels, n)
    steps = ladder(ROTATION_STEPS_DEG).to(device)
    axis = torch.randint(0, 3, (len(true),), generator=generator)
    moved = rot_tilt_psi_deg[:, None] + steps[:, None] * torch.eye(3, dtype=torch.float64, device=device)[axis][:, None]
    slices = project(sphere, matrix_from_euler(moved).flatten(0, 1), pixels, n).view(len(true), len(steps), 2, n)
    rotation = _first_above((slices - true[:, None]).double().square().sum(2), weight, steps)
    steps = ladder(SHIFT_STEPS_PX).to(device)
    axis = torch.randint(0, 2, (len(true),), generator=generator)
    offset = steps[:, None] * torch.eye(2, dtype=torch.float64, device=device)[axis][:, None]
    ramps = phases(offset, pixels, n, true.dtype)
    shift = _first_above((multiply(true[:, None], ramps) - true[:, None]).double().square().sum(2), weight, steps)
    return float(rotation.mean()), float(shift.mean())


def _first_above(square: Tensor, weight: Tensor, steps: Tensor) -> Tensor:
    """First step of each particle whose weighted difference exceeds the limit; the last one if none does."""
    ratio = torch.einsum("nsp,np->ns", square, weight)
    above = ratio > LOG_RATIO
    first = torch.where(above.any(1), above.double().argmax(1), len(steps) - 1)
    return steps[first]
