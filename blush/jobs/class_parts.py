"""The first maps of classes: from what every image has of the parts of the mean map (`blush.maximization.parts`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.config import RunConfig
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.parts import part_overlaps
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid
from blush.io.files import load_npz
from blush.io.particles import ParticleSet
from blush.jobs.expect import tensor
from blush.jobs.inputs import POSE_COLUMNS, Plan, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.maximization.parts import Occupancies, divide_into_parts, fit_occupancies
from blush.refine.state import State
from blush.refine.subset import Subset

MOST_PARTS, FEWEST_PARTS, IMAGES_PER_PART = 32, 4, 30
MOST_IMAGES = 20_000
"""Images from which occupancies are estimated; the others join in the next expectation step."""
LARGEST_RADIUS = 40
"""Shells that are compared at most: parts are compact, not detailed."""
STARTS = 8
_PARTS_STREAM = 5


@dataclass(frozen=True)
class FirstClasses:
    """Weights of the parts, (parts, N, N, N), and their occupancies in every class."""

    parts: Tensor
    occupancies: Occupancies

    @property
    def fields(self) -> list[Tensor]:
        """(N, N, N) of every class: by what the mean map is multiplied to give the class."""
        shape = (-1, 1, 1, 1)
        return [(one.to(self.parts).view(shape) * self.parts).sum(0) for one in self.occupancies.occupancy]


def first_classes(
    folder: RunFolder, config: RunConfig, state: State, mean: Tensor, mask: Tensor, shell: int
) -> FirstClasses:
    """Divide a mean map into parts and find the classes that explain what the images have of them.

    Parameters
    ----------
    state
        The one before the iteration that made the mean.
    mean, mask
        (N, N, N)
    shell
        Up to which the mean is resolved.
    """
    particles, plan = read_frozen_particles(folder.root), read_plan(folder.root)
    rows = np.random.default_rng([_PARTS_STREAM, config.seed]).permutation(len(particles))[:MOST_IMAGES]
    some = _posed(folder, state, particles, plan, np.sort(rows))
    count = int(np.clip(len(some) // IMAGES_PER_PART, FEWEST_PARTS, MOST_PARTS))
    parts = divide_into_parts(mean, mask, count, config.seed)
    radius = min(shell, LARGEST_RADIUS, state.search.current_size_px // 2)
    spheres = [transform(mean * weight, radius) for weight in parts]
    step = _step(state, particles, mean, radius)
    overlap, gram = part_overlaps(step, some, spheres)
    soft = state.search.temperature
    return FirstClasses(
        parts, fit_occupancies(overlap / soft, gram / soft, config.classification.n_classes, config.seed, STARTS)
    )


def _posed(folder: RunFolder, state: State, particles: ParticleSet, plan: Plan, rows: np.ndarray) -> ParticleSet:
    """Images at the poses that the iteration after `state` found, with the norms that it compared them with."""
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    found = load_npz(checked(folder, folder.statistics(state.iteration + 1, Subset.ALL)), starts=("table_",))
    columns = {name: np.array(poses[name]) for name in POSE_COLUMNS}
    for name in POSE_COLUMNS[:5]:
        columns[name][plan.rows[0]] = found[f"table_{name}"]
    return with_poses(particles, columns, rows)


def _step(state: State, particles: ParticleSet, mean: Tensor, radius: int) -> Expectation:
    """Images as the iteration after `state` compared them, at given poses."""
    facts, images = state.facts, state.images
    grid = OrientationGrid.build(state.search.healpix_order, facts.symmetry)
    model = Model(
        component=Component((Reference(transform(mean, radius)),), grid),
        pixel_size_angst=facts.pixel_size_angst,
        particle_diameter_angst=facts.particle_diameter_angst,
        coarse_radius=radius,
        radius=radius,
        noise=tensor(images.noise[0]),
        scale=tensor(images.scale[0]),
        norm_average=float(images.norm_average[0]),
        offsets_angst=torch.zeros(1, 2, dtype=torch.float64),
        offset_step_angst=facts.pixel_size_angst,
        sigma_offset_angst=float(images.sigma_offset_angst[0]),
        fixed_poses=True,
    )
    return Expectation(model, particles, mean.dtype, mean.device)
