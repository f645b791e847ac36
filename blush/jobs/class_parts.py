"""The first classes of a run, from its mean map and some of its images at the poses that they have."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from blush.classes.first_classes import LARGEST_RADIUS, MOST_IMAGES, FirstClasses, first_classes
from blush.config import RunConfig
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid
from blush.io.files import load_npz
from blush.io.particles import ParticleSet
from blush.jobs.expect import tensor
from blush.jobs.inputs import POSE_COLUMNS, Plan, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.state import State
from blush.refine.subset import Subset

_PARTS_STREAM = 5


def classes_of_run(
    folder: RunFolder, config: RunConfig, state: State, mean: Tensor, mask: Tensor, shell: int
) -> FirstClasses:
    """What images of a run have of the parts of their mean map.

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
    step = _step(state, particles, mean, min(shell, LARGEST_RADIUS, state.search.current_size_px // 2))
    count, temperature = config.classification.n_classes, state.search.temperature
    return first_classes(step, some, mean, mask, count, temperature, config.seed)


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
        component=Component((Reference(transform(mean, radius, box_px=facts.box_px)),), grid),
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
