"""Everything random about a patch but the values of its noise, from a seed, the step, and the patch's place in it.

The same step of the same training draws the same patches on any number of devices, before and after a restart.
Ranges follow Kimanius et al. 2024 where they are published (anisotropic filters C and C̄, shared affine transforms).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from blush.training.library import Loaded

COPIES = 3
"""Poses over which the signal of a half is averaged where its particles are misaligned."""
SHARED = 0.3
"""Share of the variance of pose errors that both halves have in common."""
WORST_ANGST = 30.0
FINEST_VOXELS = 2.1
CRYSTAL_SHARE = 0.5
"""Share of the patches of pairs that are turned by a rotation of the cube, which leaves the noise as it is."""


@dataclass(frozen=True)
class Draw:
    """One patch.

    Attributes
    ----------
    rotation
        (3, 3), applied to x, y, z.
    centre_px
        (3,) x, y, z of the patch's centre from the box's.
    scale
        Voxels of the map per voxel of the patch.
    swap
        Whether half 2 is the input.
    resolution_angst
        Where the FSC in the mask is 1/7, before misalignment.
    cut_angst
        Beyond which there is nothing, as beyond a refinement's image size; 0: no limit.
    blur_angst, blur_axis, blur_ratio, target_ratio
        Gaussians of input and target.
    pose_error
        (2, COPIES, 6) rotation vector in rad and shift in px of each copy in each half, or None.
    sphere
        Radius of the mask of the particle over the radius of its own mask; 0: none.
    extra_noise
        Power of noise that is added to a pair, over its own.
    noisy_target
        Whether the target is the other half with its noise.
    seed
        Seed of the noise's values.
    """

    entry: int
    rotation: np.ndarray
    centre_px: np.ndarray
    scale: float
    swap: bool
    bfactor_angst2: float
    resolution_angst: float
    cut_angst: float
    blur_angst: float
    blur_axis: np.ndarray
    blur_ratio: float
    target_ratio: float
    noise_power: float
    noise_corner: float
    noise_rise: float
    coverage_axis: np.ndarray
    coverage_depth: float
    coverage_narrow: float
    bulge: float
    bulge_radius: float
    streak: float
    streak_pattern: int
    pose_error: np.ndarray | None
    sphere: float
    extra_noise: float
    noisy_target: bool
    seed: int


def generator(seed: int, step: int, patch: int) -> np.random.Generator:
    """Source of the draws of one patch."""
    return np.random.default_rng([seed, step, patch])


def draw(
    random: np.random.Generator, entry: int, loaded: Loaded, voxel_size_angst: float, noise2noise_share: float
) -> Draw:
    """Draw one patch of an entry."""
    made_here = "half1" not in loaded.entry.channels
    crystal = not made_here and random.random() < CRYSTAL_SHARE
    rotation = cube_rotations()[random.integers(24)] if crystal else random_rotation(random)
    centre = _centre(random, loaded)
    lowest = max(3.0, FINEST_VOXELS * voxel_size_angst)
    d_angst = _log_uniform(random, lowest, WORST_ANGST if made_here else 12.0)
    hardly = random.random() < 0.5  # the maps of a refinement are not filtered
    blur = d_angst * (random.uniform(0.2, 0.5) if hardly else random.uniform(0.7, 0.9))
    if not made_here and hardly:
        blur = voxel_size_angst
    return Draw(
        entry=entry,
        rotation=rotation,
        centre_px=np.round(centre) if crystal else centre,
        scale=1.0 if crystal else random.uniform(0.95, 1.05),
        swap=bool(random.random() < 0.5),
        bfactor_angst2=random.uniform(0, 150) if made_here else 0.0,
        resolution_angst=d_angst,
        cut_angst=d_angst / random.uniform(1.0, 1.6) if made_here and random.random() < 0.5 else 0.0,
        blur_angst=blur,
        blur_axis=_direction(random),
        blur_ratio=_log_uniform(random, 1, 2.5),
        target_ratio=random.uniform(1, 1.3),
        noise_power=random.uniform(0, 2),
        noise_corner=random.uniform(0.1, 0.3),
        noise_rise=random.uniform(0.006, 0.02) if random.random() < 0.5 else 0.0,
        coverage_axis=_direction(random),
        coverage_depth=random.uniform(0.2, 0.9) if random.random() < 0.4 else 0.0,
        coverage_narrow=random.uniform(1, 6),
        bulge=random.uniform(0, 2) if random.random() < 0.5 else 0.0,
        bulge_radius=random.uniform(0.4, 1.2),
        streak=_log_uniform(random, 2, 10) if random.random() < 0.3 else 0.0,
        streak_pattern=int(random.integers(8)),
        pose_error=pose_errors(random, voxel_size_angst) if made_here and random.random() < 0.4 else None,
        sphere=random.uniform(0.95, 1.2) if random.random() < 0.8 else 0.0,
        extra_noise=_log_uniform(random, 0.05, 2) if not made_here and random.random() < 0.5 else 0.0,
        noisy_target=bool(random.random() < noise2noise_share),
        seed=int(random.integers(2**62)),
    )


def pose_errors(random: np.random.Generator, voxel_size_angst: float) -> np.ndarray:
    """(2, COPIES, 6) errors of the poses of each half, of which a part is common to both."""
    turn, shift = math.radians(_log_uniform(random, 0.5, 6)), _log_uniform(random, 0.3, 2) / voxel_size_angst
    size = np.array([turn] * 3 + [shift] * 3)
    shared = random.standard_normal((1, COPIES, 6))
    own = random.standard_normal((2, COPIES, 6))
    return size * (math.sqrt(SHARED) * shared + math.sqrt(1 - SHARED) * own)


def random_rotation(random: np.random.Generator) -> np.ndarray:
    """(3, 3), uniform over SO(3)."""
    w, x, y, z = (q := random.standard_normal(4)) / np.linalg.norm(q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


@lru_cache(maxsize=1)
def cube_rotations() -> np.ndarray:
    """(24, 3, 3) rotations that bring the grid onto itself; never a mirror."""
    signed = []
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for signs in np.ndindex(2, 2, 2):
            matrix = np.zeros((3, 3))
            matrix[np.arange(3), order] = 1 - 2 * np.array(signs)
            signed.append(matrix)
    return np.array([m for m in signed if np.linalg.det(m) > 0])


def _centre(random: np.random.Generator, loaded: Loaded) -> np.ndarray:
    """Mostly near a voxel of the particle, sometimes anywhere, at a fraction of a voxel."""
    if random.random() < 0.1:
        reach = loaded.entry.box_px / 3
        return random.uniform(-reach, reach, 3)
    place = loaded.places_px[random.integers(len(loaded.places_px))] * random.uniform(0, 1)
    return place + random.uniform(-0.5, 0.5, 3)


def _direction(random: np.random.Generator) -> np.ndarray:
    """Unit vector, uniform over the sphere."""
    vector = random.standard_normal(3)
    return vector / np.linalg.norm(vector)


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))
