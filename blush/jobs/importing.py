"""Freeze the input of a run: particles, half-sets, shards, reference, masks, configuration."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blush.config import RunConfig
from blush.errors import BlushError, condensed, problems_of
from blush.fourier.filter import resize_volume
from blush.io.check import Findings, check_inputs
from blush.io.files import save_npz, write_json
from blush.io.mrc import read_volume, write_volume
from blush.io.particles import ParticleSet
from blush.io.seal import is_sealed, read_seal
from blush.io.star import write_star
from blush.jobs.body_import import import_bodies
from blush.jobs.body_inputs import check_bodies
from blush.jobs.body_runs import body_folders
from blush.jobs.class_inputs import check_folds, check_references
from blush.jobs.consensus import check_consensus
from blush.jobs.layout import RunFolder
from blush.jobs.memory import check_memory
from blush.jobs.planning import assign_halves, largest_shard, plan_shards
from blush.jobs.sealed import blank, read_identity, run_digest, write_identity, written
from blush.jobs.settings import decisive_settings, file_digest, input_files
from blush.jobs.surroundings import check_method, check_surroundings
from blush.regularise.select import regulariser


def import_run(config: RunConfig) -> Path:
    """Check all inputs and write RUN/import; nothing is written if anything is wrong.

    Raises
    ------
    BlushError
        With every mistake in the inputs, or if the folder holds a run of other inputs.
    """
    folder = RunFolder(config.run_dir.absolute())
    findings = check_run(config)
    findings.refuse(str(config.particles))
    if findings.particles is None:
        raise BlushError(f"{config.particles} holds no particles")
    particles = findings.particles
    half = assign_halves(particles, config.seed, findings.together)
    plan = plan_shards(particles, half, config, findings.together)
    for warning in condensed(findings.warnings):
        sys.stderr.write(f"blush: warning: {warning}\n")
    _claim(folder, identity(config, particles))
    folder.imported.mkdir(parents=True, exist_ok=True)
    blocks = dict(findings.blocks)
    blocks["particles"] = {**blocks["particles"], "rlnRandomSubset": half.astype(np.int64)}
    star = folder.imported / "particles.star"
    with written(folder, star) as beside:
        write_star(beside, blocks, comment=blank(folder, star))
    with written(folder, folder.imported / "particles.npz") as beside:
        replace(particles, half=half).save(beside)
    with written(folder, folder.imported / "plan.npz") as beside:
        save_npz(beside, plan)
    box, pixel = particles.optics[0].box_px, particles.optics[0].pixel_size_angst
    own = config.classification.references if config.job == "classify" else ()
    for target, source in ((None, config.reference), *enumerate(own)):
        with written(folder, folder.first_map(target)) as beside:
            _import_map(source, beside, box, pixel, config.reference_pixel_size_angst)
    if isinstance(config.mask, Path):
        with written(folder, folder.imported / "mask.mrc") as beside:
            _import_map(config.mask, beside, box, pixel, config.mask_pixel_size_angst)
    if config.job == "multibody":
        frozen = replace(particles, half=half)
        import_bodies(folder, config, frozen, blocks)
    with written(folder, folder.imported / "config.json") as beside:
        write_json(beside, config.model_dump(mode="json"))
    return folder.imported / "config.json"


def check_run(config: RunConfig) -> Findings:
    """Every check that can be made before anything is computed, of inputs, settings and surroundings.

    What a step of the run would refuse is refused here: weights are loaded once, memory is held against the largest
    step, and the folder may hold no other refinement.
    """
    findings = check_inputs(config)
    findings.problems += check_surroundings(config)
    particles, problems = findings.particles, findings.problems
    if config.job == "multibody" and particles is not None and particles.optics[0].pixel_size_angst > 0:
        found, warnings = check_bodies(config, particles.optics[0])
        problems += [*check_consensus(config, particles), *found]
        findings.warnings += warnings
    try:
        method = regulariser(config.regulariser)
        if particles is not None and particles.optics[0].box_px > 0 and particles.optics[0].pixel_size_angst > 0:
            problems += check_method(config, method, particles.optics[0].box_px, particles.optics[0].pixel_size_angst)
    except BlushError as error:
        problems += problems_of(error, "regulariser")
    if particles is not None and not problems:
        try:
            half = assign_halves(particles, config.seed, findings.together)
            plan = plan_shards(particles, half, config, findings.together)
            findings.warnings += check_memory(config, particles, largest_shard(plan))
            if config.job == "classify":
                found, warnings = check_references(config, particles.optics[0])
                problems += found
                findings.warnings += [*warnings, *check_folds(plan)]
            refuse_another(RunFolder(config.run_dir.absolute()), identity(config, particles))
        except BlushError as error:
            problems += problems_of(error)
    return findings


def _import_map(source: Path, target: Path, box_px: int, pixel_size_angst: float, stated_angst: float | None) -> None:
    """Bring a map to the particles' box and pixel size; its own is the stated one, else its header's."""
    volume, header_angst = read_volume(source)
    pixel = header_angst if stated_angst is None else stated_angst
    resized = volume
    if volume.shape[0] != box_px or abs(pixel / pixel_size_angst - 1) > 1e-4:
        resized = resize_volume(torch.from_numpy(volume), pixel, box_px, pixel_size_angst).numpy()
    write_volume(target, resized, pixel_size_angst)


def identity(config: RunConfig, particles: ParticleSet) -> dict[str, str]:
    """Digest of every input and setting that decides the course of a refinement, by name."""
    parts: dict[str, Any] = {}
    for key, path in input_files(config).items():
        parts[key] = file_digest(path)
    parts["stacks"] = [(Path(stack).name, Path(stack).stat().st_size) for stack in particles.stacks]
    return decisive_settings(config) | {key: json.dumps(value, sort_keys=True) for key, value in parts.items()}


def refuse_another(folder: RunFolder, wanted: dict[str, str]) -> None:
    """Refuse a folder that holds the iterations of another run.

    Raises
    ------
    BlushError
        If it does, with what differs.
    """
    known, started = read_identity(folder), folder.has_started
    remedy = "give this one another `name`, or remove that folder"
    if started and known is not None:
        changed = sorted(key for key in known.keys() | wanted.keys() if known.get(key) != wanted.get(key))
        if changed:
            was = "; ".join(f"{key}: was {known.get(key)}, now {wanted.get(key)}" for key in changed[:5])
            raise BlushError(f"{folder.root} holds a refinement of other inputs or settings ({was}); {remedy}")
    first = folder.state(0)
    if started and known is None and is_sealed(first) and read_seal(first).run != run_digest(wanted):
        raise BlushError(
            f"{folder.root} has lost its identity, {folder.identity.name}, and holds a refinement of other inputs or "
            f"settings than these; go back to those, or {remedy}"
        )


def _claim(folder: RunFolder, wanted: dict[str, str]) -> None:
    """Mark the folder as this run's."""
    refuse_another(folder, wanted)
    if read_identity(folder) != wanted and not folder.has_started:
        for begun in (folder.imported, *(body.root for body in body_folders(folder.root))):
            shutil.rmtree(begun, ignore_errors=True)  # another run's, as its seals say
    folder.root.mkdir(parents=True, exist_ok=True)
    write_identity(folder, wanted)
