"""`blush evidence`: images of each half of a finished refinement, told by the map of the other half."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.expectation.component import Component, Reference
from blush.expectation.kept_poses import CHILDREN
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.fourier.shift import round_half_away
from blush.fourier.transform import transform
from blush.geometry.symmetry import operators
from blush.io.files import load_npz, write_json
from blush.io.particles import ParticleSet
from blush.jobs.denoise_and_trail import regularised
from blush.jobs.expect import build_model
from blush.jobs.inputs import environment, latest_state, read_config, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.map_rules import MapRules
from blush.jobs.reduce import load_sums
from blush.jobs.sealed import checked
from blush.jobs.temperature import mask_temperature
from blush.kernels.device import free_bytes
from blush.maximization.halves import join_shell
from blush.refine.schedule import shell_of_resolution
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES
from blush.validate.other_half import Told, offset_log_share, orientation_log_share

TITLE = "cannot ask the images of a half about the map of the other"
FOLDER, FILE = "evidence", "evidence.json"
BANDS = 8
"""Up to the resolution."""
_SAMPLE_STREAM = 7
Floats = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Run:
    """A finished refinement of one map in two halves, as its last iteration began."""

    folder: RunFolder
    config: RunConfig
    state: State
    last: State
    frozen: ParticleSet
    rows: tuple[NDArray[np.int64], ...]
    device: torch.device
    dtype: torch.dtype


def weigh_halves(root: Path, images: int, progress: Progress = lambda done, total: None) -> tuple[Told, Path]:
    """Tell images of each half by the map of the other, band by band, and write evidence/evidence.json.

    The maps are made as the references of the last iteration were, but of one half alone; the noise of images is that
    of their own half. Nothing of it goes back into a run.

    Parameters
    ----------
    images
        How many of each half, drawn at random (the same with the same seed of the run); all, where there are no more.
    progress
        Called with images told and images in all.

    Raises
    ------
    BlushError
        Where the folder is no finished refinement of one map in two halves.
    """
    run = _opened(root, images)
    references, other = _references(run, run.config), _plain(run.config)
    plain = None if other is None else _references(run, other)
    edges = _edges(run)
    kinds = len(edges) + (plain is not None)
    total, done = kinds * sum(map(len, run.rows)), 0
    models = [_model(run, index) for index in range(2)]
    images_of = [_particles(run, index) for index in range(2)]
    gains: list[list[Floats]] = []
    for index, rows in enumerate(run.rows):
        model, particles = models[index], images_of[index]
        maps = [(references[1 - index], edge) for edge in edges]
        maps += [] if plain is None else [(plain[1 - index], edges[-1])]
        found = []
        for volume, edge in maps:
            found.append(_log_gain(run, model, particles, volume, edge, _after(progress, done, total)))
            done += len(rows)
        gains.append(found)
    gain = np.concatenate([np.stack(found, 1) for found in gains])
    told = Told(
        log_gain=gain[:, : len(edges)],
        log_share=np.concatenate([_log_share(run, *half) for half in zip(models, images_of, strict=True)]),
        half=np.repeat([1, 2], [len(rows) for rows in run.rows]),
        edges_angst=[run.state.facts.box_px * run.state.facts.pixel_size_angst / edge for edge in edges],
        resolution_angst=run.last.resolution_angst,
        plain=gain[:, -1] if plain is not None else None,
    )
    target = run.folder.root / FOLDER / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, told.record() | {"regulariser_name": run.config.regulariser.name, "seed": run.config.seed})
    return told, target


def _after(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    """Progress of a part of the work."""
    return lambda done: progress(before + done, total)


def _opened(root: Path, images: int) -> _Run:
    root = root.absolute()
    folder, last = RunFolder(root), latest_state(root)
    if last is None or not last.converged or last.facts.job != "refine":
        raise BlushError(TITLE, [_unfit(root, last)])
    config = read_config(root)
    state = load_state(checked(folder, folder.state(last.iteration - 1)))
    if state.search.first_cc or state.iteration < 1:
        fault = "ended after its first comparison with the reference it was given"
        raise BlushError(TITLE, [Problem(fault, "raise refinement.max_iterations and run again", str(root))])
    drawn = tuple(_drawn(rows, images, config.seed, index) for index, rows in enumerate(read_plan(root).rows))
    return _Run(folder, config, state, last, read_frozen_particles(root), drawn, *environment(config))


def _unfit(root: Path, last: State | None) -> Problem:
    """What is said of a folder that is no finished refinement of one map."""
    others = {"classify": "blush classes verify", "helix": "blush helix-evidence", "multibody": "blush motions"}
    if last is not None and last.converged and last.facts.job in others:
        fault = f"is a run of job: {last.facts.job}"
        return Problem(fault, f"use {others[last.facts.job]}, or give a run of job: refine", str(root))
    return Problem("is no finished refinement", "give the folder of a run of job: refine that has ended", str(root))


def _drawn(rows: NDArray[np.int64], images: int, seed: int, index: int) -> NDArray[np.int64]:
    chosen = np.random.default_rng([_SAMPLE_STREAM, seed, index]).permutation(len(rows))[:images]
    return np.sort(rows[chosen])


def _edges(run: _Run) -> list[int]:
    """Last shells of the bands: as many up to the resolution as it has shells for, and one beyond it."""
    facts, most = run.state.facts, run.state.search.current_size_px // 2
    end = most
    if run.last.resolution_angst is not None and math.isfinite(run.last.resolution_angst):
        end = min(most, shell_of_resolution(run.last.resolution_angst, facts.box_px, facts.pixel_size_angst))
    within = np.unique(np.linspace(0, end, min(BANDS, end) + 1).round().astype(int))[1:]
    return [*map(int, within), *([most] if most > end else [])]


def _references(run: _Run, config: RunConfig) -> list[Tensor]:
    """What the regulariser makes of the sums of either half, which know no image of the other.

    These are the sums that the references of the last iteration were made of, but no shell is joined, and a mask that
    is made from maps comes from that of the half alone.
    """
    once = config.regulariser.model_copy(update={"certificate": False, "jacobian_passes": 0})
    config = config.model_copy(update={"regulariser": once})
    folder, facts, iteration = run.folder, run.state.facts, run.state.iteration
    before = load_state(checked(folder, folder.state(iteration - 1)))
    pair = tuple(load_sums(folder, iteration, half, facts.box_px, run.device) for half in HALVES)
    join_angst = config.refinement.low_resolution_join_angst
    shell = join_shell(facts.box_px, facts.pixel_size_angst, join_angst, before.resolution_angst)
    rules, found = MapRules(folder, config, before), []
    for index, half in enumerate(pair):
        mask = rules.made_mask(half, shell)
        made, _ = regularised(config, before, (pair[0], pair[1]), mask, folder.scratch(iteration))
        found.append((made.references[index] * mask).cpu())
    return found


def _plain(config: RunConfig) -> RunConfig | None:
    """The same with the Wiener filter; None: it is that."""
    if config.regulariser.name == "wiener":
        return None
    return config.model_copy(update={"regulariser": config.regulariser.model_copy(update={"name": "wiener"})})


def _particles(run: _Run, index: int) -> ParticleSet:
    poses = load_npz(checked(run.folder, run.folder.poses(run.state.iteration)))
    return with_poses(run.frozen, poses, run.rows[index])


def _model(run: _Run, index: int) -> Model:
    """That of the last iteration, with a likelihood that is not too sure of masked images."""
    model = build_model(run.folder, run.state, HALVES[index], 0, run.device, run.dtype)
    return replace(model, pose_temperature=mask_temperature(run.config, run.frozen.optics[0]))


def _log_gain(
    run: _Run, model: Model, particles: ParticleSet, volume: Tensor, edge: int, progress: Callable[[int], None]
) -> Floats:
    """(n,) ln of how much more probable a map up to a shell makes images of a half than nothing does."""
    reference = Reference(transform(volume.to(run.device, run.dtype), edge, box_px=model.box_px))
    component = Component((reference,), model.component.grid)  # all directions alike
    told = replace(model, component=component, radius=edge, coarse_radius=min(edge, model.coarse_radius))
    memory_bytes = free_bytes(run.device, run.config.compute.memory_gb * 1e9)
    step = Expectation(told, run.frozen, run.dtype, run.device, memory_bytes)
    found: Floats = step.run(particles, progress).table["log_gain"].numpy()
    return found - np.log(_samples(model, particles))


def _samples(model: Model, particles: ParticleSet) -> Floats:
    """(n,) samples of each image's search, over which its prior has a mean of 1."""
    grid, count = model.component.grid, np.full(len(particles), float(model.component.grid.n_orientations))
    if model.local_sigma_deg is not None:
        rot, tilt, psi = (torch.from_numpy(getattr(particles, name)) for name in ("rot_deg", "tilt_deg", "psi_deg"))
        near, _ = grid.local_neighbours(rot, tilt, psi, model.local_sigma_deg)
        count = (near >= 0).sum(1).double().numpy()
    return count * len(model.offsets_angst) * CHILDREN


def _log_share(run: _Run, model: Model, particles: ParticleSet) -> Floats:
    pixel = model.pixel_size_angst
    old_px = torch.from_numpy(np.stack([particles.offset_x_angst, particles.offset_y_angst], 1)) / pixel
    orientation = orientation_log_share(model.local_sigma_deg, len(operators(run.state.facts.symmetry)))
    return orientation + offset_log_share(
        round_half_away(old_px).numpy() * pixel,
        model.offsets_angst.cpu().numpy(),
        model.offset_step_angst,
        model.sigma_offset_angst,
    )
