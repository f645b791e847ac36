"""Whether `compute.memory_gb` is enough for the largest steps of a run, before anything is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from blush.classes.first_classes import memory_of_parts
from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.expectation.memory import LOCAL_NEIGHBOURS, PROCESS_BYTES, StepSize, sphere_cells
from blush.fourier.transform import PADDING
from blush.geometry.healpix import angular_step_deg
from blush.geometry.sampling import offset_grid
from blush.geometry.symmetry import operators
from blush.io.particles import ParticleSet
from blush.jobs.body_runs import which_are_refined
from blush.jobs.gpu_memory import check_gpus
from blush.jobs.subsets import folds_of
from blush.refine.filament_sampling import LEAST_SAMPLES, LOCAL_STEPS
from blush.refine.schedule import coarse_size, shell_of_resolution

CLASS_PROCESS_BYTES = 350_000_000
"""Python with torch while maps of classes are made (measured, torch 2.13)."""
_MADE_OF_SUMS = 18
"""A sum as it is loaded, those of halves, classes and all images, their priors and transforms that live at once, in
sums of D and W (measured)."""


@dataclass(frozen=True)
class Need:
    """Memory of one step in bytes: without which it cannot run, and at the worst; and the terms of that sum."""

    step: str
    least: int
    most: int
    terms: str


def check_memory(config: RunConfig, particles: ParticleSet, shard_images: int) -> list[Problem]:
    """Hold `compute.memory_gb` against what a CPU's steps take, or the memory of this machine's GPUs against theirs.

    Parameters
    ----------
    shard_images
        Images of the largest shard.

    Returns
    -------
    At most one warning: what the worst case may take.

    Raises
    ------
    BlushError
        If a step cannot run in that memory, or SLURM would kill it there.
    """
    if _on_gpu(config):
        check_gpus(config, step_sizes(config, particles))
        return []
    given, box_px = config.compute.memory_gb * 1e9, particles.optics[0].box_px
    needs = [*_expectation(config, particles, shard_images), _maps(config, box_px, len(particles))]
    largest = max(needs, key=lambda need: need.least)
    if largest.least > given:
        raise BlushError("the workers have too little memory", [_problem(config, box_px, largest, largest.least)])
    largest = max(needs, key=lambda need: need.most)
    return [_problem(config, box_px, largest, largest.most)] if largest.most > given else []


def _expectation(config: RunConfig, particles: ParticleSet, shard_images: int) -> list[Need]:
    """Image by image at the least; at the worst a whole block whose poses are all significant."""
    needs = []
    for size in step_sizes(config, particles):
        block = min(shard_images, size.block_size(config.compute.memory_gb * 1e9))
        worst = size.peak(block)
        search = "poses given" if size.fixed else "local search" if size.local else "global search"
        name = f"the expectation step with data to Nyquist ({search})"
        needs.append(Need(name, size.peak(1).total, worst.total, str(worst)))
    return needs


def _maps(config: RunConfig, box_px: int, images: int) -> Need:
    """Only SLURM holds a worker to its memory; elsewhere the other workers are idle while maps are made."""
    itemsize = getattr(torch, config.compute.precision).itemsize
    if config.job != "classify":
        most = maps_bytes(box_px, itemsize)
        terms = "three sums of D and W, one padded transform with its workspace"
    else:
        n_sums = folds_of(config) * config.classification.n_classes
        prior = config.classification.prior
        most = class_maps_bytes(box_px // 2, itemsize, n_sums, prior, images)
        terms = f"{n_sums} sums of D and W, those of every class and fold, and {_MADE_OF_SUMS} made of them"
    return Need("making the maps", most if config.compute.pool == "slurm" else 0, most, terms)


def step_sizes(config: RunConfig, particles: ParticleSet) -> list[StepSize]:
    """The finest global search that may come, if any, and a local one; both at Nyquist, where the last iteration is.

    A classification searches in one way throughout. Bodies are searched locally, and know the maps of all others.
    Segments of filaments are searched about their tracks, in the frame of each.
    """
    if config.job == "classify":
        return [_class_step_size(config, particles)]
    optics, sampling = particles.optics[0], config.sampling
    box_px, order = optics.box_px, sampling.local_from_order - 1
    shifts = len(offset_grid(sampling.offset_range_px, sampling.offset_step_px))
    itemsize = getattr(torch, config.compute.precision).itemsize
    local = StepSize(box_px, box_px // 2, box_px // 2, LOCAL_NEIGHBOURS, shifts, itemsize, local=True)
    if config.job == "multibody":
        return [replace(local, others=len(which_are_refined(config)) - 1)]
    if config.job == "helix":
        return _segment_step_sizes(config, particles, local)
    if config.refinement.start_from == "poses" or sampling.healpix_order > order:
        return [local]
    coarse_px = coarse_size(box_px, optics.pixel_size_angst, config.particle_diameter_angst, order, box_px)
    orientations = 72 * 8**order // len(operators(config.symmetry))
    return [replace(local, coarse_radius=coarse_px // 2, n_orientations=orientations, local=False), local]


def _segment_step_sizes(config: RunConfig, particles: ParticleSet, local: StepSize) -> list[StepSize]:
    """The finest global search of segments, in the band and window of the first priors, and a local one."""
    optics, sampling, helix = particles.optics[0], config.sampling, config.helix
    order, box_px = sampling.local_from_order - 1, optics.box_px
    step_angst = sampling.offset_step_px * optics.pixel_size_angst
    across = 2 * math.floor(sampling.offset_range_px / sampling.offset_step_px) + 1
    along = max(LEAST_SAMPLES, math.ceil(helix.most_rise_angst / step_angst))
    local = replace(local, lists=2, n_orientations=2 * LOCAL_NEIGHBOURS, shifts=(2 * LOCAL_STEPS + 1) * across)
    if sampling.healpix_order > order:
        return [local]
    coarse_px = coarse_size(box_px, optics.pixel_size_angst, config.particle_diameter_angst, order, box_px)
    step_deg = angular_step_deg(order)
    band = 12 * 4**order * math.sin(math.radians(min(90.0, 3 * helix.sigma_tilt_deg + step_deg / 2)))
    window = 2 * math.ceil(3 * helix.sigma_psi_deg / step_deg - 0.5) + 1
    lists = 2 * math.ceil(band / len(operators(config.symmetry))) * window
    return [replace(local, coarse_radius=coarse_px // 2, n_orientations=lists, shifts=along * across), local]


def _class_step_size(config: RunConfig, particles: ParticleSet) -> StepSize:
    """The search of all iterations of a classification, at Nyquist or at the limit that the user set."""
    optics, sampling, chosen = particles.optics[0], config.sampling, config.classification
    box_px, order = optics.box_px, sampling.healpix_order
    radius = box_px // 2
    if chosen.resolution_limit_angst is not None:
        radius = min(radius, shell_of_resolution(chosen.resolution_limit_angst, box_px, optics.pixel_size_angst))
    coarse_px = coarse_size(box_px, optics.pixel_size_angst, config.particle_diameter_angst, order, 2 * radius)
    orientations = 72 * 8**order // len(operators(config.symmetry))
    if chosen.search == "local":
        orientations = min(orientations, neighbours_at_most(chosen.sigma_angle_deg, order))
    return StepSize(
        box_px=box_px,
        radius=radius,
        coarse_radius=coarse_px // 2,
        n_orientations=orientations * chosen.n_classes,
        shifts=len(offset_grid(sampling.offset_range_px, sampling.offset_step_px)),
        itemsize=getattr(torch, config.compute.precision).itemsize,
        local=chosen.search == "local",
        references=chosen.n_classes,
        fixed=chosen.search == "given",
    )


def neighbours_at_most(sigma_deg: float, healpix_order: int) -> int:
    """Orientations of a grid within 3 sigma of another: those of a cap of r + 1 steps, 2 r + 1 in plane."""
    steps = 3 * sigma_deg / angular_step_deg(healpix_order)
    return math.ceil(math.pi * (steps + 1) ** 2) * math.ceil(2 * steps + 1)


def class_maps_bytes(radius: int, itemsize: int, n_sums: int, prior: str, images: int = 0) -> int:
    """Peak of the maps of an iteration of a classification in bytes.

    Process + 3 f c (sums + 18) + 2 f (2 r)^3 (sums), the difference of every class without every
    fold, and some more maps, + transforms of the parts and 24 bytes for each product of two of them, image by image.

    Parameters
    ----------
    radius
        Shells r of the sums; c = 2 pi/3 (2 r)^3 is the number of their cells.
    n_sums
        Classes x folds, all of which are held.
    """
    cells = math.ceil(2 * math.pi / 3 * (PADDING * radius) ** 3)
    made = 3 * itemsize * cells * (n_sums + _MADE_OF_SUMS)
    maps = 2 * itemsize * (2 * radius) ** 3 * n_sums if prior == "difference" else 0
    return CLASS_PROCESS_BYTES + made + maps + memory_of_parts(images, radius)


def maps_bytes(box_px: int, itemsize: int) -> int:
    """Peak of `denoise_and_trail` at Nyquist: process + 12 f c for three accumulators + 3 f (2N)^3 to transform one."""
    return PROCESS_BYTES + itemsize * (12 * sphere_cells(box_px // 2) + 3 * (2 * box_px) ** 3)


def _on_gpu(config: RunConfig) -> bool:
    compute = config.compute
    elsewhere = compute.pool == "attach" or (compute.pool == "slurm" and compute.slurm.gres is not None)
    return compute.device.startswith("cuda") or (compute.device == "auto" and (elsewhere or torch.cuda.is_available()))


def _problem(config: RunConfig, box_px: int, need: Need, needed: int) -> Problem:
    enough = math.ceil(needed / 1e8 + 1) / 10
    return Problem(
        f"{need.step} takes up to {needed / 1e9:.1f} GB at a box of {box_px} px; in GB: {need.terms}",
        f"set it to {enough:g} or more, with fewer workers if the machine has less, or refine smaller images",
        where="compute.memory_gb",
        value=f"{config.compute.memory_gb:g}",
    )
