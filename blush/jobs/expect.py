"""The expectation step of one shard, from the files of an iteration to a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.accuracy import PARTICLES
from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid, offset_grid
from blush.io.files import load_npz, save_npz
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet
from blush.jobs.inputs import Plan, environment, read_config, read_frozen_particles, read_plan, shard_key, with_poses
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.sealed import checked, kept, written
from blush.refine.state import RefinementState, load_state
from blush.refine.subset import Subset

_ACCURACY_STREAM = 2
SCALE_SSNR = 3.0

_prepared: dict[tuple[Path, int, int, str], Expectation] = {}
"""The last slices of this process, by what they were made from: the shards of a half share them."""


def build_model(
    folder: RunFolder, state: RefinementState, half: int, device: torch.device, dtype: torch.dtype
) -> Model:
    """What `state` says about half `half`, for the next expectation step."""
    reference, _ = read_volume(checked(folder, folder.reference(state.iteration, half)))
    radius = state.current_size_px // 2
    sphere = transform(torch.from_numpy(reference).to(device, dtype), radius)
    grid = OrientationGrid.build(state.healpix_order, state.symmetry, state.perturbation)
    offsets, index = offset_grid(state.offset_range_angst, state.offset_step_angst), Subset(half).index
    return Model(
        component=Component((Reference(sphere, log_prior_direction=_direction_prior(folder, state, half)),), grid),
        pixel_size_angst=state.pixel_size_angst,
        particle_diameter_angst=state.particle_diameter_angst,
        coarse_radius=min(radius, state.coarse_size_px // 2),
        radius=radius,
        noise=_tensor(state.noise[index]),
        scale=_tensor(state.scale[index]),
        norm_average=float(state.norm_average[index]),
        offsets_angst=offsets + state.perturbation * state.offset_step_angst,
        offset_step_angst=state.offset_step_angst,
        sigma_offset_angst=float(state.sigma_offset_angst[index]),
        local_sigma_deg=state.sigma_angle_deg if state.local else None,
        cross_correlation=state.first_cc,
        scale_shells=_tensor(state.ssnr > SCALE_SSNR),
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values))


def _direction_prior(folder: RunFolder, state: RefinementState, half: int) -> Tensor | None:
    """Log of the learned histogram over its mean, while it belongs to the present grid."""
    if state.local or not state.iteration:
        return None
    arrays = load_npz(checked(folder, folder.directions(state.iteration)))
    if int(arrays["healpix_order"]) != state.healpix_order:
        return None
    histogram = torch.from_numpy(arrays[Subset(half).infix])
    return (histogram / histogram.mean()).clamp_min(1e-30).log()


def expectation_shard(root: Path, iteration: int, half: int, shard: int) -> Path:
    """Compute a shard's sufficient statistics, unless the file is there already."""
    folder = RunFolder(root)
    target = folder.shard(iteration, half, shard, shard_key(folder, iteration, half))
    if kept(folder, target):
        return target
    watch = Stopwatch()
    config = read_config(root)
    device, dtype = environment(config)
    state = load_state(checked(folder, folder.state(iteration - 1)))
    frozen, plan = read_frozen_particles(root), read_plan(root)
    rows = plan.shard(half, shard)
    particles = with_poses(frozen, load_npz(checked(folder, folder.poses(iteration - 1))), rows)
    step = _expectation(folder, iteration, half, state, frozen, device, dtype, config.compute.memory_gb * 1e9)

    def report(done: int) -> None:
        folder.log(
            iteration=iteration,
            stage="expectation",
            half=half,
            shard=shard,
            done=done,
            total=len(rows),
            device=str(device),
            **watch.read(),
        )

    sums = step.run(particles, report)
    measures_accuracy = half == 1 and shard == 0 and not state.first_cc
    accuracy = _accuracy(step, folder, frozen, plan, state) if measures_accuracy else {}
    arrays = sums.arrays() | accuracy
    with written(folder, target) as beside:
        save_npz(beside, arrays)
    folder.log(
        iteration=iteration,
        stage="shard",
        half=half,
        shard=shard,
        done=len(rows),
        total=len(rows),
        device=str(device),
        pid=os.getpid(),
        **watch.read(),
    )
    return target


def _expectation(
    folder: RunFolder,
    iteration: int,
    half: int,
    state: RefinementState,
    frozen: ParticleSet,
    device: torch.device,
    dtype: torch.dtype,
    memory_bytes: float,
) -> Expectation:
    key = (folder.root, iteration, half, shard_key(folder, iteration, half))
    if key not in _prepared:
        _prepared.clear()
        model = build_model(folder, state, half, device, dtype)
        _prepared[key] = Expectation(model, frozen, dtype, device, memory_bytes)
    return _prepared[key]


def accuracy_rows(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most 100 of a half's particles at random: the same for the same seed, in ascending order."""
    chosen = np.random.default_rng([_ACCURACY_STREAM, seed]).permutation(len(rows))[:PARTICLES]
    return np.sort(rows[chosen])


def _accuracy(
    step: Expectation, folder: RunFolder, frozen: ParticleSet, plan: Plan, state: RefinementState
) -> dict[str, np.ndarray]:
    """Expected accuracies from some particles of half 1, wherever in its stacks they are."""
    seed = state.seed * 1000 + state.iteration
    rows = accuracy_rows(plan.rows[0], seed)
    rotation_deg, offset_angst = step.accuracy(with_poses(frozen, load_npz(folder.poses(state.iteration)), rows), seed)
    return {"accuracy_rotation_deg": np.array(rotation_deg), "accuracy_offset_angst": np.array(offset_angst)}
