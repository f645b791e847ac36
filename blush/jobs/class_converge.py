"""The checkpoint of a classification: what its images measured becomes the next iteration's state. No torch here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.io.files import load_npz, save_npz
from blush.io.particles import ParticleSet
from blush.jobs.class_outputs import write_class_tables
from blush.jobs.converge import accuracies, control_settings, images_measured, save_directions, tidy
from blush.jobs.inputs import TABLE_COLUMNS, Plan, read_config, read_frozen_particles, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.sealed import checked, kept, written
from blush.maximization.resolution import resolution_shell, resolutions_angst
from blush.refine.changes import pose_change
from blush.refine.classify import ClassesMeasured, next_class_state
from blush.refine.control import ControlSettings
from blush.refine.estimates import ReferenceModel
from blush.refine.state import State, load_state, save_state
from blush.refine.subset import Subset

Arrays = dict[str, NDArray[Any]]


def class_settings(config: RunConfig) -> ControlSettings:
    """The part of the configuration that controls the iterations; changes apply from the next iteration on."""
    return replace(control_settings(config), max_iterations=config.classification.max_iterations)


def converge(root: Path, iteration: int) -> State:
    """Write labels, posteriors, poses and, last, the state of an iteration; RELION's tables after the last one."""
    folder, watch = RunFolder(root), Stopwatch()
    if kept(folder, folder.state(iteration), folder.poses(iteration), folder.directions(iteration)):
        return load_state(folder.state(iteration))
    config, plan = read_config(root), read_plan(root)
    before = load_state(checked(folder, folder.state(iteration - 1)))
    measured = load_npz(checked(folder, folder.statistics(iteration, Subset.ALL)))
    old = load_npz(checked(folder, folder.poses(iteration - 1)))
    new = gather(old, measured, plan, before, keep_norm=not config.refinement.norm_correction)
    spectra = load_npz(checked(folder, folder.spectra(iteration)))
    found = _measured(config, before, plan, read_frozen_particles(root), measured, spectra, old, new)
    state = next_class_state(before, found, class_settings(config))
    with written(folder, folder.poses(iteration)) as beside:
        save_npz(beside, new)
    save_directions(folder, iteration, before, {Subset.ALL: measured})
    if state.converged or config.refinement.iteration_tables:
        write_class_tables(root, iteration, before, state, new, measured)
    folder.log(
        iteration=iteration, stage="converge", done=1, total=1, resolution_angst=state.resolution_angst,
        change_class=state.change_class, shares=[round(float(s), 4) for s in state.references.share], **watch.read(),
    )  # fmt: skip
    with written(folder, folder.state(iteration)) as beside:
        save_state(beside, state)
    tidy(folder, iteration, config.refinement.keep_iterations)
    return state


def learns_images(state: State) -> bool:
    """Whether noise, norms and scales are estimated: not where references are of another grey scale or not yet any."""
    return not (state.search.first_cc or state.search.confined)


def gather(old: Arrays, measured: Arrays, plan: Plan, before: State, *, keep_norm: bool) -> Arrays:
    """Per-particle table in import order: poses, posterior of every class, and the most probable class."""
    (rows,) = plan.rows
    names = [name for name in TABLE_COLUMNS if name != "norm_correction" or (learns_images(before) and not keep_norm)]
    new = {name: np.array(old[name]) for name in TABLE_COLUMNS}
    for name in names:
        new[name][rows] = measured[f"table_{name}"]
    shares = np.ones((len(rows), 1))
    if "table_shares" in measured:
        shares = np.empty((len(rows), measured["table_shares"].shape[1]))
        shares[rows] = measured["table_shares"]
    new["shares"] = shares
    new["class_number"] = shares.argmax(1) + 1
    if "table_poses" in measured and not before.search.fixed:
        poses = np.empty(measured["table_poses"].shape, np.float32)
        poses[rows] = measured["table_poses"]
        new["class_poses"] = poses
    return new


def _measured(
    config: RunConfig,
    before: State,
    plan: Plan,
    particles: ParticleSet,
    measured: Arrays,
    spectra: Arrays,
    old: Arrays,
    new: Arrays,
) -> ClassesMeasured:
    facts = before.facts
    extent_angst = facts.box_px * facts.pixel_size_angst
    learns = learns_images(before)
    images = images_measured(config, before, plan, particles, [measured], new) if learns else before.images
    resolution_angst = before.resolution_angst
    if not before.search.first_cc or before.search.fixed:
        resolution_angst = extent_angst / _shell(spectra)
    n = len(spectra["share"])
    return ClassesMeasured(
        images=images,
        references=ReferenceModel(
            fsc=spectra["fsc"],
            fsc_unmasked=spectra["fsc"],
            ssnr=spectra["ssnr"],
            tau2=spectra["tau2"],
            sigma2_ref=spectra["sigma2_ref"],
            share=spectra["share"],
            resolution_angst=resolutions_angst(spectra["ssnr"], extent_angst, over_gaps=False),
            accuracy_rotation_deg=_of_classes(accuracies(measured, "accuracy_rotation_deg", n), n),
            accuracy_offset_angst=_of_classes(accuracies(measured, "accuracy_offset_angst", n), n),
        ),
        resolution_angst=resolution_angst,
        average_pmax=float(new["pmax"].mean()),
        log_likelihood=float(new["log_likelihood"].sum()),
        change=pose_change(old, new, plan.operators),
    )


def _of_classes(values: tuple[float | None, ...], n: int) -> tuple[float | None, ...]:
    """A value of every class; all have that of the single map which they were made from."""
    return values * n if len(values) == 1 else values


def _shell(spectra: Arrays) -> int:
    """Shell of the resolution that images are compared up to: of the mean of all classes, or of the best class."""
    if "fsc_mean" not in spectra:
        return max(resolution_shell(ssnr, over_gaps=True) for ssnr in spectra["ssnr"])
    fsc = np.maximum(spectra["fsc_mean"], 0)
    return resolution_shell(np.where(fsc > 1 / 3, 1.0, 0.0), over_gaps=True)
