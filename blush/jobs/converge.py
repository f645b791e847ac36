"""The checkpoint of the loop: what all subsets measured becomes the state of the next iteration. No torch here."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.io.files import load_npz, save_npz
from blush.io.particles import ParticleSet
from blush.jobs.inputs import TABLE_COLUMNS, Plan, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.sealed import checked, kept, written
from blush.maximization.noise import update_noise, update_scale, update_sigma_offset
from blush.maximization.resolution import resolutions_angst
from blush.refine.changes import PoseChange, pose_change
from blush.refine.control import ControlSettings
from blush.refine.convergence import IterationResult, next_state
from blush.refine.estimates import ImageModel, ReferenceModel
from blush.refine.state import State, load_state, save_state, with_settings
from blush.refine.subset import Subset

Arrays = dict[str, NDArray[Any]]


def control_settings(config: RunConfig) -> ControlSettings:
    """The part of the configuration that controls the iterations; changes apply from the next iteration on."""
    return ControlSettings(
        initial_lowpass_angst=config.initial_lowpass_angst,
        local_from_order=config.sampling.local_from_order,
        max_iterations=config.refinement.max_iterations,
        perturbation_factor=config.sampling.perturb,
    )


@dataclass(frozen=True)
class Keeping:
    """What a job keeps of an iteration beside what every refinement does.

    Attributes
    ----------
    columns
        Names of what is kept of every particle.
    then
        What is added to the state; from the state and these columns, of which some may be replaced.
    alike
        New poses as they are compared with old ones, where several poses show the same; from both.
    """

    columns: Sequence[str] = TABLE_COLUMNS
    then: Callable[[State, Arrays], State] = lambda state, _columns: state
    alike: Callable[[Arrays, Arrays], Arrays] = lambda _old, new: new


def converge(root: Path, iteration: int, keeping: Keeping = Keeping()) -> State:
    """Write poses, direction histograms and, last, the state of an iteration; where asked for, the RELION files.

    The last iteration writes them always. What the next iteration needs is in `poses.npz`, not in them.

    Parameters
    ----------
    keeping
        What the job keeps.
    """
    from blush.jobs.outputs import write_outputs

    folder, watch = RunFolder(root), Stopwatch()
    if kept(folder, folder.state(iteration), folder.poses(iteration), folder.directions(iteration)):
        return load_state(folder.state(iteration))
    config, plan = read_config(root), read_plan(root)
    before = with_settings(load_state(checked(folder, folder.state(iteration - 1))), control_settings(config))
    measured = [load_npz(checked(folder, folder.statistics(iteration, subset))) for subset in plan.subsets]
    old, new = load_npz(checked(folder, folder.poses(iteration - 1))), {}
    keep_norm = before.search.first_cc or not config.refinement.norm_correction
    new = gather_poses(old, measured, plan, keep_norm=keep_norm, columns=keeping.columns)
    spectra = load_npz(checked(folder, folder.spectra(iteration)))
    compared = pose_change(old, keeping.alike(old, new), plan.operators)
    result = _result(config, before, plan, read_frozen_particles(root), measured, spectra, new, compared)
    state = keeping.then(next_state(before, result), new)
    with written(folder, folder.poses(iteration)) as beside:
        save_npz(beside, new)
    save_directions(folder, iteration, before, dict(zip(plan.subsets, measured, strict=True)))
    if before.final or config.refinement.iteration_tables:
        write_outputs(root, iteration, before, state, new, measured)
    folder.log(
        iteration=iteration, stage="converge", done=1, total=1, resolution_angst=state.resolution_angst, **watch.read()
    )
    with written(folder, folder.state(iteration)) as beside:
        save_state(beside, state)
    tidy(folder, iteration, config.refinement.keep_iterations)
    return state


def gather_poses(
    old: Arrays, measured: list[Arrays], plan: Plan, *, keep_norm: bool, columns: Sequence[str] = TABLE_COLUMNS
) -> Arrays:
    """Per-particle table in import order from the subsets' tables in processing order."""
    new = {
        name: np.array(old[name]) if name in old else _empty(len(old["rot_deg"]), measured[0], name) for name in columns
    }
    for rows, found in zip(plan.rows, measured, strict=True):
        for name in columns:
            if not (keep_norm and name == "norm_correction"):
                new[name][rows] = found[f"table_{name}"]
    return new


def _empty(n: int, measured: Arrays, name: str) -> NDArray[Any]:
    """Column of something that is found anew in every iteration, and kept by none."""
    like = measured[f"table_{name}"]
    return np.zeros((n, *like.shape[1:]), like.dtype)


def _result(
    config: RunConfig,
    before: State,
    plan: Plan,
    particles: ParticleSet,
    measured: list[Arrays],
    spectra: Arrays,
    new: Arrays,
    change: PoseChange,
) -> IterationResult:
    return IterationResult(
        images=images_measured(config, before, plan, particles, measured, new),
        references=_references(before, spectra, measured[0]),
        average_pmax=float(new["pmax"].mean()),
        log_likelihood=float(new["log_likelihood"].sum()),
        change=change,
    )


def images_measured(
    config: RunConfig, before: State, plan: Plan, particles: ParticleSet, measured: list[Arrays], new: Arrays
) -> ImageModel:
    """The image model of every subset from its statistics.

    Parameters
    ----------
    measured
        By subset.
    new
        Columns of all images after the iteration, in import order.
    """
    keep_norm = before.search.first_cc or not config.refinement.norm_correction
    noise, norm = before.images.noise, before.images.norm_average
    return ImageModel(
        noise=np.stack([update_noise(m["noise"], m["weight"], noise[h]) for h, m in enumerate(measured)]),
        scale=_scales(config, before, plan, particles, measured),
        norm_average=norm if keep_norm else np.array([new["norm_correction"][rows].mean() for rows in plan.rows]),
        sigma_offset_angst=_offset_widths(before, measured),
    )


def _references(before: State, spectra: Arrays, measured: Arrays) -> ReferenceModel:
    """The one reference of a refinement; `measured` are the statistics with its accuracies."""
    facts, ssnr = before.facts, spectra["ssnr"][None]
    return ReferenceModel(
        fsc=spectra["fsc"][None],
        fsc_unmasked=spectra["fsc_unmasked"][None],
        ssnr=ssnr,
        tau2=spectra["tau2"][:, None],
        sigma2_ref=spectra["sigma2_ref"][:, None],
        share=np.ones(1),
        resolution_angst=resolutions_angst(ssnr, facts.box_px * facts.pixel_size_angst, over_gaps=not before.final),
        accuracy_rotation_deg=accuracies(measured, "accuracy_rotation_deg", 1),
        accuracy_offset_angst=accuracies(measured, "accuracy_offset_angst", 1),
    )


def accuracies(arrays: Arrays, name: str, n_references: int) -> tuple[float | None, ...]:
    """An accuracy by each reference; None of each where the iteration measured none."""
    return tuple(float(one) for one in arrays[name]) if name in arrays else (None,) * n_references


def _scales(
    config: RunConfig, before: State, plan: Plan, particles: ParticleSet, measured: list[Arrays]
) -> NDArray[np.float64]:
    scale = before.images.scale
    if not config.refinement.scale_correction:
        return scale
    groups = scale.shape[1]
    counts = [np.bincount(particles.group_index[rows], minlength=groups) for rows in plan.rows]
    return np.stack(
        [update_scale(m["scale_cross"], m["scale_power"], scale[h], counts[h]) for h, m in enumerate(measured)]
    )


def _offset_widths(before: State, measured: list[Arrays]) -> NDArray[np.float64]:
    if before.search.first_cc:
        return before.images.sigma_offset_angst
    return np.array([update_sigma_offset(float(m["offset_square"]), float(m["weight"].sum())) for m in measured])


def save_directions(folder: RunFolder, iteration: int, before: State, measured: dict[Subset, Arrays]) -> None:
    """Write the direction histograms of all subsets."""
    arrays = {subset.infix: m["directions"] for subset, m in measured.items()}
    with written(folder, folder.directions(iteration)) as beside:
        save_npz(beside, arrays | {"healpix_order": np.array(before.search.healpix_order)})


def tidy(folder: RunFolder, iteration: int, keep: int) -> None:
    """Remove shard results of this iteration, and sums, maps and foreign files of those that are no longer kept."""
    for path in folder.iteration(iteration).glob("*_shard[0-9]*.npz"):
        path.unlink(missing_ok=True)
    for n in range(iteration - keep, 0, -1):
        old = [
            *folder.iteration(n).glob("*_sums*.npz"),
            *folder.present_references(n),
            folder.iteration(n) / "mask.mrc",
        ]
        present = [path for path in old if path.exists()]
        shutil.rmtree(folder.scratch(n), ignore_errors=True)
        if not present:
            break
        for path in present:
            path.unlink(missing_ok=True)
