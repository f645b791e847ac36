"""Iteration 0: initial noise, filtered references, poses and state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blush.errors import BlushError
from blush.expectation.initial_noise import initial_noise
from blush.fourier.filter import low_pass
from blush.io.files import save_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import ParticleSet
from blush.jobs.converge import control_settings
from blush.jobs.inputs import POSE_COLUMNS, TABLE_COLUMNS, environment, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.references import maps_of
from blush.jobs.sealed import checked, kept, written
from blush.jobs.temperature import mask_temperature
from blush.refine.start import FirstSampling, ParticleGeometry, first_state
from blush.refine.state import State, load_state, save_state

Poses = dict[str, NDArray[Any]]


First = Callable[[ParticleSet, State, Poses], State]


def start(root: Path, then: First | None = None) -> Path:
    """Write the state from which iteration 1 runs.

    Parameters
    ----------
    then
        What a job adds to the state, and to the columns of the poses.
    """
    folder, watch = RunFolder(root), Stopwatch()
    if kept(folder, folder.state(0), folder.poses(0)):
        begun = load_state(folder.state(0))
        if kept(folder, *maps_of(folder, 0, begun, final=False)):
            return folder.state(0)
    config = read_config(root)
    environment(config)
    particles = read_frozen_particles(root)
    local = config.refinement.start_from == "poses"
    if local and not particles.has_poses:
        raise BlushError(
            f"refinement.start_from is 'poses', but {config.particles} has no rlnAngleRot, rlnAngleTilt "
            "and rlnAnglePsi; use start_from: global"
        )
    optics = particles.optics[0]
    pixel = optics.pixel_size_angst
    noise = initial_noise(particles, config.particle_diameter_angst, config.seed).numpy()
    sampling = FirstSampling(
        healpix_order=max(config.sampling.healpix_order, config.sampling.local_from_order)
        if local
        else config.sampling.healpix_order,
        offset_range_angst=config.sampling.offset_range_px * pixel,
        offset_step_angst=config.sampling.offset_step_px * pixel,
        offset_sigma_angst=config.sampling.offset_sigma_angst,
        oversampling=config.sampling.oversampling,
        local=local,
    )
    geometry = ParticleGeometry(
        optics.box_px, pixel, config.particle_diameter_angst, config.symmetry, int(particles.group_index.max()) + 1
    )
    state = first_state(
        geometry,
        sampling,
        control_settings(config),
        np.stack([noise] * len(read_plan(root).subsets)),
        config.seed,
        first_cc=not config.refinement.reference_is_greyscale,
    )
    poses = first_poses(particles)
    given = config.refinement.temperature
    temperature = mask_temperature(config, optics) if given == "auto" else float(given)
    state = replace(state, search=replace(state.search, pose_temperature=temperature))
    state = state if then is None else then(particles, state, poses)
    reference, _ = read_volume(checked(folder, folder.first_map()))
    filtered = low_pass(torch.from_numpy(reference), config.initial_lowpass_angst, pixel).numpy()
    for path in maps_of(folder, 0, state, final=False):
        with written(folder, path) as beside:
            write_volume(beside, filtered, pixel)
    with written(folder, folder.poses(0)) as beside:
        save_npz(beside, poses)
    with written(folder, folder.state(0)) as beside:
        save_state(beside, state)
    folder.log(iteration=0, stage="start", done=1, total=1, **watch.read())
    return folder.state(0)


def first_poses(particles: ParticleSet) -> Poses:
    """What iteration 0 knows of every image, in import order: the poses it came with, where it came with some."""
    zeros = np.zeros(len(particles))
    poses: Poses = dict.fromkeys(TABLE_COLUMNS, zeros) | {"norm_correction": np.ones(len(particles))}
    if particles.has_poses:
        poses |= {name: getattr(particles, name) for name in POSE_COLUMNS[:5]}
    return poses
