"""The STAR files that an iteration leaves, in RELION 3.1's layout, so that its programs and others go on from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blush.io.particles import ParticleSet
from blush.io.star import Table, write_star
from blush.refine.angular_distribution import write_angular_distribution
from blush.refine.control_star import ModelOptions, OptimiserFiles, optimiser_blocks, sampling_blocks
from blush.refine.data_star import data_blocks, group_names
from blush.refine.model_star import ModelPart, model_blocks
from blush.refine.state import State
from blush.refine.subset import HALVES, Subset

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class OutputParticles:
    """The particle table of a run and its poses after an iteration, in input order.

    Parameters
    ----------
    blocks
        The input's STAR blocks with every column.
    particles
        The same rows as numbers.
    poses
        Columns (n,) that the iteration found; `data_star.data_blocks` lists them.
    """

    blocks: Mapping[str, Table]
    particles: ParticleSet
    poses: Mapping[str, Floats]


@dataclass(frozen=True)
class DirectionTable:
    """Viewing directions searched and how often each was found.

    Parameters
    ----------
    directions_deg
        (directions, 2) rot and tilt.
    histogram
        (subsets, references x directions) weight.
    """

    directions_deg: Floats
    histogram: Floats


def write_iteration_outputs(
    run: Path,
    prefix: str,
    used: State,
    state: State,
    table: OutputParticles,
    directions: DirectionTable | None = None,
    options: ModelOptions | None = None,
) -> list[Path]:
    """Write `_data`, `_model`, `_half1_model`, `_half2_model`, `_sampling` and `_optimiser.star`.

    The last iteration also gets its viewing directions as `.bild` files.

    Parameters
    ----------
    run
        Run folder. Names inside the tables are relative to the working directory where the folder lies below it, as
        RELION's are to its project.
    prefix
        "run_it007" while a refinement runs, "run" for its last iteration.
    used, state
        State the iteration ran from, and the one it led to.
    directions
        Listed in the sampling and model tables where given.
    options
        Choices of the configuration that the optimiser table repeats, RELION's usual ones by default.

    Returns
    -------
    The files, each complete or absent: they are written beside and renamed.
    """
    final, chosen = prefix == "run", options or ModelOptions()
    parts = _parts(run, prefix, state, table, directions)
    listed = directions.directions_deg if directions is not None else None
    contents: dict[str, Mapping[str, Mapping[str, Any]]] = {
        f"{prefix}_data.star": data_blocks(table.blocks, table.particles, table.poses),
        **{
            f"{prefix}{name}_model.star": model_blocks(used, state, part, bool(name) or final, chosen.helix)
            for name, part in parts.items()
        },
        f"{prefix}_sampling.star": sampling_blocks(used, listed),
        f"{prefix}_optimiser.star": optimiser_blocks(used, state, _files(run, prefix), chosen),
    }
    for name, blocks in contents.items():
        write_star(run / name, blocks, comment="written by Blush in the layout of RELION 3.1")
    figures = _write_directions(run, prefix, state, table) if final else []
    return [*(run / name for name in contents), *figures]


def _write_directions(run: Path, prefix: str, state: State, table: OutputParticles) -> list[Path]:
    """Directions of all particles and of each half, for ChimeraX."""
    halves = {"": (1, 2), "_half1": (1,), "_half2": (2,)}
    paths = []
    for infix, members in halves.items():
        rows = np.isin(table.particles.half, members)
        path = run / f"{prefix}{infix}_class001_angdist.bild"
        rot_deg, tilt_deg = (table.poses[name][rows] for name in ("rot_deg", "tilt_deg"))
        write_angular_distribution(path, rot_deg, tilt_deg, state.facts.box_px, state.facts.pixel_size_angst)
        paths.append(path)
    return paths


def named(run: Path) -> Path:
    """Run folder as it is written into tables."""
    return run.relative_to(Path.cwd()) if run.is_relative_to(Path.cwd()) else run


def _files(run: Path, prefix: str) -> OptimiserFiles:
    base = (named(run) / prefix).as_posix()
    return OptimiserFiles(
        root=(named(run) / "run").as_posix(),
        model_half1=f"{base}_half1_model.star",
        model_half2=f"{base}_half2_model.star",
        data=f"{base}_data.star",
        sampling=f"{base}_sampling.star",
    )


def _parts(
    run: Path, prefix: str, state: State, table: OutputParticles, directions: DirectionTable | None
) -> dict[str, ModelPart]:
    """The model of each half by its infix, and their average under no infix.

    While a refinement runs the average points to the first half's map: there is no joint one before the end.
    """
    base = (named(run) / prefix).as_posix()
    suffix = "_unfil.mrc" if prefix == "run" else ".mrc"
    maps = {half: f"{base}_{half.infix}_class001{suffix}" for half in HALVES}
    joint = f"{base}_class001.mrc" if prefix == "run" else maps[Subset.FIRST]
    sides = {"": HALVES, "_half1": (Subset.FIRST,), "_half2": (Subset.SECOND,)}
    names = {"": joint, "_half1": maps[Subset.FIRST], "_half2": maps[Subset.SECOND]}
    return {
        infix: model_part(
            state,
            table,
            np.isin(table.particles.half, halves),
            [HALVES.index(half) for half in halves],
            (names[infix],),
            directions,
        )
        for infix, halves in sides.items()
    }


def model_part(
    state: State,
    table: OutputParticles,
    rows: NDArray[np.bool_],
    index: list[int],
    map_names: tuple[str, ...],
    directions: DirectionTable | None,
) -> ModelPart:
    """The model of some subsets, averaged over them.

    Parameters
    ----------
    rows
        (n,) particles of these subsets.
    index
        Positions of the subsets among those of the run.
    map_names
        Map of every reference.
    """
    images, references, particles = state.images, state.references, table.particles
    names = group_names(table.blocks, particles)
    return ModelPart(
        map_names=map_names,
        noise=images.noise[index].mean(axis=0),
        scale=images.scale[index].mean(axis=0),
        tau2=references.tau2[index].mean(axis=0),
        sigma2_ref=references.sigma2_ref[index].mean(axis=0),
        norm_average=float(images.norm_average[index].mean()),
        sigma_offset_angst=float(images.sigma_offset_angst[index].mean()),
        log_likelihood=_over(table.poses, "log_likelihood", rows, np.sum),
        average_pmax=_over(table.poses, "pmax", rows, np.mean),
        group_names=names,
        group_optics=_optics_of_groups(particles, len(names)),
        particles_per_group=np.bincount(particles.group_index[rows], minlength=len(names)),
        pdf_direction=_pdf(directions, index, len(map_names)),
    )


def _over(poses: Mapping[str, Floats], name: str, rows: NDArray[np.bool_], reduction: Callable[[Floats], Any]) -> float:
    """Sum or mean of a column over some rows; 0 before anything was measured."""
    return float(reduction(poses[name][rows])) if name in poses and rows.any() else 0.0


def _optics_of_groups(particles: ParticleSet, n_groups: int) -> NDArray[np.int64]:
    """Optics group of each scale group's first particle."""
    optics = np.zeros(n_groups, dtype=np.int64)
    present, rows = np.unique(particles.group_index, return_index=True)
    optics[present] = particles.optics_index[rows]
    return optics


def _pdf(directions: DirectionTable | None, index: list[int], n_references: int) -> Floats | None:
    """(references, directions) histogram of some subsets, summing to 1 in all; uniform where nothing was counted."""
    if directions is None:
        return None
    weight = directions.histogram[index].sum(axis=0)
    total = weight.sum()
    pdf = weight / total if total > 0 else np.full(len(weight), 1 / len(weight))
    return pdf.reshape(n_references, -1)
