"""The expectation step of one shard, from the files of an iteration to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import xxhash
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.accuracy import PARTICLES
from blush.expectation.component import Component, Reference
from blush.expectation.given_images import Kept, Place
from blush.expectation.model import Model
from blush.expectation.room import ImageLimit
from blush.expectation.shard import Expectation
from blush.fourier.transform import transform
from blush.geometry.sampling import OrientationGrid
from blush.io.files import load_npz, save_npz
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded
from blush.jobs.body_images import background, with_others
from blush.jobs.inputs import Plan, environment, read_config, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.references import references_for
from blush.jobs.sealed import checked, content_digest, kept, written
from blush.jobs.segments import filament_model, offsets_of, with_tracks
from blush.jobs.shards import shard_key
from blush.kernels.device import free_bytes
from blush.refine.control import BodyControl
from blush.refine.state import State, load_state
from blush.refine.subset import Subset

_ACCURACY_STREAM = 2
SCALE_SSNR = 3.0
LEAST_SHARE = 1e-6
"""Share of the images that a reference has at least before they are seen: a class may come back."""

SPARE_KEPT = 0.5
"""Part of the memory that an expectation step leaves over in which transforms of images are kept."""
_kept = Kept()
"""Transforms of images of the shards that this process computed, where poses are given."""
_limit = ImageLimit()
"""What a device of this process was found to hold of images, for the shards that follow."""
_prepared: dict[tuple[Path, Subset, str], Expectation] = {}
"""The last slices of this process, by what they were made from: the shards of a subset share them."""


def build_model(
    folder: RunFolder, state: State, subset: Subset, fold: int, device: torch.device, dtype: torch.dtype
) -> Model:
    """What `state` says about the images of a subset and fold, for the next expectation step."""
    facts, search, images = state.facts, state.search, state.images
    radius = search.current_size_px // 2
    volumes = (read_volume(checked(folder, path))[0] for path in references_for(folder, state, subset, fold))
    box_px = facts.box_px  # maps without a fold may have larger voxels than images
    spheres = [transform(uploaded(volume, device, dtype), radius, box_px=box_px) for volume in volumes]
    grid = OrientationGrid.build(search.healpix_order, facts.symmetry, search.perturbation)
    priors = _direction_priors(folder, state, subset, len(spheres), grid.n_directions)
    index = read_plan(folder.root).position(subset)
    return Model(
        component=Component(tuple(map(Reference, spheres, _log_shares(state), priors)), grid),
        pixel_size_angst=facts.pixel_size_angst,
        particle_diameter_angst=facts.particle_diameter_angst,
        coarse_radius=min(radius, search.coarse_size_px // 2),
        radius=radius,
        noise=tensor(images.noise[index]),
        scale=tensor(images.scale[index]),
        norm_average=float(images.norm_average[index]),
        offsets_angst=offsets_of(state),
        offset_step_angst=search.offset_step_angst,
        sigma_offset_angst=float(images.sigma_offset_angst[index]),
        local_sigma_deg=search.sigma_angle_deg if search.local else None,
        cross_correlation=search.first_cc,
        scale_shells=tensor(state.references.ssnr.max(axis=0) > SCALE_SSNR),
        fixed_poses=search.fixed,
        temperature=search.temperature,
        pose_temperature=search.pose_temperature,
        motion=tensor(state.control.motion[index]) if isinstance(state.control, BodyControl) else None,
        filament=filament_model(folder.root, state, index),
    )


def _log_shares(state: State) -> list[float]:
    """Log of each reference's share of the images over the mean share."""
    share = state.references.share
    return [float(one) for one in np.log(np.maximum(share, LEAST_SHARE) * len(share))]


def tensor(values: np.ndarray) -> Tensor:
    """A copy that may be written to, as torch wants it; states are read-only."""
    return torch.from_numpy(np.array(values))


def _direction_priors(
    folder: RunFolder, state: State, subset: Subset, n_references: int, n_directions: int
) -> Sequence[Tensor | None]:
    """Log of each reference's learned histogram over its mean, while it belongs to the present grid."""
    nothing = [None] * n_references
    if state.search.local or state.search.fixed or not state.iteration:
        return nothing
    arrays = load_npz(checked(folder, folder.directions(state.iteration)))
    if int(arrays["healpix_order"]) != state.search.healpix_order:
        return nothing
    histogram = torch.from_numpy(arrays[subset.infix])
    if len(histogram) == n_directions:  # of the one reference that all of them come from
        histogram = torch.outer(tensor(state.references.share), histogram).flatten()
    least = max(1e-30, state.search.direction_floor)
    return list((histogram / histogram.mean()).clamp_min(least).log().chunk(n_references))


def expectation_shard(root: Path, iteration: int, subset: Subset, shard: int) -> Path:
    """Compute a shard's sufficient statistics, unless the file is there already."""
    folder, plan = RunFolder(root), read_plan(root)
    state = load_state(checked(folder, folder.state(iteration - 1)))
    fold = plan.fold(subset, shard)
    key = shard_key(folder, state, subset, fold)
    target = folder.shard(iteration, subset, shard, key)
    if kept(folder, target):
        return target
    watch = Stopwatch()
    config = read_config(root)
    device, dtype = environment(config)
    frozen = read_frozen_particles(root)
    rows = plan.shard(subset, shard)
    poses = load_npz(checked(folder, folder.poses(iteration - 1)))
    particles = with_others(with_tracks(with_poses(frozen, poses, rows), poses, rows), frozen, folder, state, rows)
    if state.search.confined:
        particles = replace(particles, confined_to=poses["class_number"][rows].astype(np.int64) - 1)
    if (folder.root, subset, key) not in _prepared:
        _prepared.clear()
        model = build_model(folder, state, subset, fold, device, dtype)
        others = background(folder, state, subset, frozen, torch.empty(0, dtype=dtype, device=device))
        memory_bytes = free_bytes(device, config.compute.memory_gb * 1e9)
        step = Expectation(model, frozen, dtype, device, memory_bytes, others, _limit)
        _prepared[folder.root, subset, key] = step
    step = _prepared[folder.root, subset, key]
    place_of = {"iteration": iteration, "subset": subset.infix, "shard": shard, "device": str(device)}
    step.room.told = lambda text: folder.log(stage="memory", said=text, **place_of)

    def report(done: int) -> None:
        folder.log(stage="expectation", done=done, total=len(rows), **place_of, **watch.read())

    name = (subset, shard, _offsets_digest(particles))
    place = Place(_kept, content_digest(folder.identity), name, SPARE_KEPT * step.room.spare_bytes)
    sums = step.run(particles, report, place)
    is_first = plan.position(subset) == 0 and shard == 0
    measures_accuracy = is_first and not (state.search.first_cc or state.search.fixed)
    accuracy = _accuracy(step, folder, frozen, plan, state) if measures_accuracy else {}
    arrays = sums.arrays() | accuracy
    with written(folder, target) as beside:
        save_npz(beside, arrays)
    folder.log(stage="shard", done=len(rows), total=len(rows), pid=os.getpid(), **place_of, **watch.read())
    return target


def _offsets_digest(particles: ParticleSet) -> str:
    """What tells images at these offsets from the same at others."""
    digest = xxhash.xxh3_128()
    for column in (particles.stack_index, particles.image_index, particles.offset_x_angst, particles.offset_y_angst):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


def accuracy_rows(rows: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most 100 of a subset's particles at random: the same for the same seed, in ascending order."""
    chosen = np.random.default_rng([_ACCURACY_STREAM, seed]).permutation(len(rows))[:PARTICLES]
    return np.sort(rows[chosen])


def _accuracy(
    step: Expectation, folder: RunFolder, frozen: ParticleSet, plan: Plan, state: State
) -> dict[str, np.ndarray]:
    """Expected accuracies from some particles of the first subset, wherever in its stacks they are."""
    seed = state.facts.seed * 1000 + state.iteration
    rows = accuracy_rows(plan.rows[0], seed)
    rotation_deg, offset_angst = step.accuracy(with_poses(frozen, load_npz(folder.poses(state.iteration)), rows), seed)
    return {"accuracy_rotation_deg": np.array(rotation_deg), "accuracy_offset_angst": np.array(offset_angst)}
