"""Iteration 0 of a classification: noise, first maps and first classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.expectation.initial_noise import initial_noise
from blush.fourier.filter import low_pass
from blush.io.files import save_npz
from blush.io.mrc import read_volume, write_volume
from blush.io.particle_columns import NUMERIC_COLUMNS
from blush.io.particles import ParticleSet
from blush.io.star import read_star
from blush.jobs.class_converge import class_settings, learns_images
from blush.jobs.inputs import environment, read_config, read_frozen_particles
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.references import maps_of
from blush.jobs.sealed import checked, kept, written
from blush.jobs.start import first_poses
from blush.jobs.temperature import mask_temperature
from blush.maximization.spectra import expected_signal_to_noise
from blush.refine.classify import first_class_state
from blush.refine.control import ClassifyControl
from blush.refine.schedule import FIRST_INCREMENT_SHELLS
from blush.refine.state import PoseSearch, RunFacts, State, load_state, save_state

_CLASS_STREAM = 4
SPLITS_AT = 3
"""Iteration that makes classes of a single map where poses are given. The first compares images up to the low-pass
filter, the second as far as its map goes, the third to where the classes are told apart."""
DIRECTION_FLOOR = 0.01
"""Least share of a direction in a class, over the mean share, so that none is lost to a class by accident."""


def start(root: Path) -> Path:
    """Write the state, maps and labels from which iteration 1 runs."""
    folder, watch = RunFolder(root), Stopwatch()
    if kept(folder, folder.state(0), folder.poses(0)):
        begun = load_state(folder.state(0))
        if kept(folder, *maps_of(folder, 0, begun, final=False)):
            return folder.state(0)
    config = read_config(root)
    environment(config)
    particles = read_frozen_particles(root)
    state = _first_state(config, particles)
    state = _with_expected_signal(state, config, particles, _write_maps(folder, config, state))
    with written(folder, folder.poses(0)) as beside:
        save_npz(beside, first_poses(particles) | {"class_number": _labels(folder, config, particles)})
    with written(folder, folder.state(0)) as beside:
        save_state(beside, state)
    folder.log(iteration=0, stage="start", done=1, total=1, **watch.read())
    return folder.state(0)


def _first_state(config: RunConfig, particles: ParticleSet) -> State:
    chosen, optics = config.classification, particles.optics[0]
    noise = initial_noise(particles, config.particle_diameter_angst, config.seed).numpy()
    search = _search(config, particles)
    given, resolution_angst = search.fixed, config.initial_lowpass_angst
    control = ClassifyControl(
        settings=class_settings(config),
        initial_healpix_order=search.healpix_order,
        initial_offset_step_angst=search.offset_step_angst,
        best_resolution_angst=resolution_angst,
        increment_shells=FIRST_INCREMENT_SHELLS,
        has_fine_enough_sampling=given or chosen.prior == "spectrum",
        settled_fraction=chosen.settled_fraction,
        max_pose_iterations=config.refinement.max_iterations,
        splits_at=_splits_at(config),
        searches=not given,
        resolution_limit_angst=chosen.resolution_limit_angst,
    )
    facts = RunFacts(
        job=config.job,
        seed=config.seed,
        box_px=optics.box_px,
        pixel_size_angst=optics.pixel_size_angst,
        particle_diameter_angst=config.particle_diameter_angst,
        symmetry=config.symmetry,
        n_optics_groups=len(particles.optics),
    )
    groups = int(particles.group_index.max()) + 1
    count = chosen.n_classes if control.splits_at == 0 else 1
    return first_class_state(facts, search, control, noise[None], groups, count)


def _splits_at(config: RunConfig) -> int | None:
    """Iteration that makes classes of a single map: an early one where poses are given, else when they are found."""
    chosen = config.classification
    if chosen.references or chosen.n_classes == 1 or chosen.start_from != "parts":
        return 0
    return SPLITS_AT if chosen.search == "given" else None


def _with_expected_signal(state: State, config: RunConfig, particles: ParticleSet, maps: list[Tensor]) -> State:
    """The state with the SSNR that maps on the images' grey scale let expect: its shells measure group scales."""
    if not learns_images(state):
        return state
    images = np.bincount(particles.optics_index, minlength=len(particles.optics))
    noise = np.average(state.images.noise[0], axis=0, weights=images)
    fudge = config.classification.tau2_fudge if config.classification.prior == "spectrum" else 1.0
    share = len(particles) / len(maps)
    ssnr = np.stack([fudge * expected_signal_to_noise(volume, noise, share) for volume in maps])
    return replace(state, references=replace(state.references, ssnr=ssnr))


def _search(config: RunConfig, particles: ParticleSet) -> PoseSearch:
    """How all iterations search."""
    chosen, pixel, order = config.classification, particles.optics[0].pixel_size_angst, config.sampling.healpix_order
    fixed, greyscale = chosen.search == "given", config.refinement.reference_is_greyscale
    if chosen.search == "local" and chosen.prior == "difference":
        order = max(order, config.sampling.local_from_order)
    return PoseSearch(
        healpix_order=order,
        local=chosen.search == "local",
        sigma_angle_deg=chosen.sigma_angle_deg if chosen.search == "local" else 0.0,
        offset_range_angst=config.sampling.offset_range_px * pixel,
        offset_step_angst=config.sampling.offset_step_px * pixel,
        oversampling=config.sampling.oversampling,
        perturbation=0.0,
        current_size_px=0,
        coarse_size_px=0,
        first_cc=not greyscale,
        fixed=fixed,
        confined=not chosen.references and chosen.n_classes > 1 and chosen.start_from != "parts",
        temperature=_temperature(config, particles),
        direction_floor=DIRECTION_FLOOR if chosen.n_classes > 1 and chosen.prior == "difference" else 0.0,
    )


def _temperature(config: RunConfig, particles: ParticleSet) -> float:
    """What the log likelihood of classes is divided by."""
    chosen = config.classification
    return mask_temperature(config, particles.optics[0]) if chosen.temperature == "auto" else float(chosen.temperature)


def _labels(folder: RunFolder, config: RunConfig, particles: ParticleSet) -> NDArray[np.int64]:
    """First class of every image, from 1."""
    classes = config.classification.n_classes
    if config.classification.start_from == "parts":
        return np.ones(len(particles), dtype=np.int64)
    if config.classification.start_from == "labels":
        return _given_labels(folder)
    return np.random.default_rng([_CLASS_STREAM, config.seed]).integers(1, classes + 1, len(particles))


def _given_labels(folder: RunFolder) -> NDArray[np.int64]:
    """Classes of the STAR file, which the import has found to be 1 to K."""
    table = read_star(checked(folder, folder.imported / "particles.star"), NUMERIC_COLUMNS)["particles"]
    return np.asarray(table["rlnClassNumber"], dtype=np.int64)


def _write_maps(folder: RunFolder, config: RunConfig, state: State) -> list[Tensor]:
    """Write the first reference of every class: its own map, or the one of all."""
    own, maps = bool(config.classification.references), []
    for k, path in enumerate(maps_of(folder, 0, state, final=False)):
        volume, _ = read_volume(checked(folder, folder.first_map(k if own else None)))
        maps.append(_filtered(volume, config, state))
        with written(folder, path) as beside:
            write_volume(beside, maps[-1].numpy(), state.facts.pixel_size_angst)
    return maps


def _filtered(volume: NDArray[np.float32], config: RunConfig, state: State) -> Tensor:
    return low_pass(torch.from_numpy(volume), config.initial_lowpass_angst, state.facts.pixel_size_angst)
