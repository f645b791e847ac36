"""Where images with poses and classes come from: a run, RELION's tables, or any particle table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.geometry.symmetry import operators
from blush.io.columns import numbers
from blush.io.copies import drawn_together, first_rows
from blush.io.files import load_npz
from blush.io.noted import check_own
from blush.io.optics import resolve
from blush.io.particle_columns import BLOCK, NUMERIC_COLUMNS
from blush.io.particles import ParticleSet
from blush.io.star import Table, read_star
from blush.jobs.inputs import latest_state, read_frozen_particles, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.posed_table import posed_table
from blush.jobs.sealed import checked
from blush.jobs.subtraction_models import is_optimiser
from blush.refine.state import State

TITLE = "classes cannot be verified"
CLASS = "rlnClassNumber"
_LAST = "run_data.star"
"""Table of a finished refinement; classifications name theirs after the iteration."""
_GENERAL, _SAMPLING = "optimiser_general", "sampling_general"


@dataclass(frozen=True)
class Classified:
    """Images with poses and classes.

    Attributes
    ----------
    folder
        Where the table lies.
    labels
        (n,) class of each image; None where the table has none.
    together
        (n,) number of each row's group: rows of one image, or of one filament.
    particle_diameter_angst, symmetry
        None where nothing says them.
    """

    star: Path
    folder: Path
    particles: ParticleSet
    labels: NDArray[np.int64] | None
    together: NDArray[np.int64]
    particle_diameter_angst: float | None
    symmetry: str | None

    def shape(
        self, diameter_angst: float | None, symmetry: str | None, device: str, problems: list[Problem]
    ) -> tuple[float | None, str]:
        """Diameter and point group to reconstruct with: what is asked for, or else what is known here.

        A diameter that nothing says, a point group that there is not and a missing device are appended to `problems`.
        """
        diameter = diameter_angst or self.particle_diameter_angst
        if diameter is None or not diameter > 0:
            remedy = "add --diameter, that of a sphere around the particle in Å"
            problems.append(Problem("nothing says how large the particle is", remedy, str(self.star)))
        if device.startswith("cuda") and not torch.cuda.is_available():
            problems.append(Problem("there is no such device here", "give --device cpu", value=device))
        group = symmetry or self.symmetry or "C1"
        try:
            operators(group)
        except ValueError as error:
            problems.append(Problem(str(error), "give a point group as RELION names it", where="--symmetry"))
        return diameter, group


def open_classified(place: Path) -> Classified:
    """Read a run's folder, a folder of RELION's Class3D, its optimiser table, or a particle table.

    Diameter and symmetry are those of the run, or of RELION's optimiser table: the given one, the last one of a folder,
    or that beside a `_data.star`.

    Raises
    ------
    BlushError
        With every mistake in the tables.
    """
    place = place.absolute()
    if RunFolder(place).identity.exists() and (state := latest_state(place)) is not None:
        return _of_run(place, state)
    if place.is_dir():
        found = sorted(place.glob("*_optimiser.star"))
        if not found:
            remedy = "give the folder of a run or of RELION's Class3D, or a particle STAR file"
            raise BlushError(TITLE, [Problem("is no folder of a classification", remedy, str(place))])
        return _of_optimiser(found[-1])
    if is_optimiser(place):
        return _of_optimiser(place)
    beside = place.with_name(place.name.removesuffix("_data.star") + "_optimiser.star")
    if place.name.endswith("_data.star") and beside.exists():
        return _of_table(place, *_scale(beside))
    return _of_table(place, None, None)


def _of_run(root: Path, state: State) -> Classified:
    """The images of a run as it imported them, at the poses and with the classes of its last iteration."""
    folder, facts = RunFolder(root), state.facts
    star = root / f"run_it{state.iteration:03d}_data.star"
    star = star if star.exists() else root / _LAST
    check_own(star)
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    frozen = read_frozen_particles(root)
    particles = with_poses(frozen, poses, np.arange(len(frozen)))
    labels = poses.get("class_number")
    return Classified(
        star,
        root,
        particles,
        None if labels is None else labels.astype(np.int64),
        _together(particles, read_star(star, NUMERIC_COLUMNS)["particles"]),
        facts.particle_diameter_angst,
        facts.symmetry,
    )


def _together(particles: ParticleSet, table: Table) -> NDArray[np.int64]:
    """(n,) number of each row's group: rows of one filament, or of one image."""
    groups = drawn_together(particles, table)
    return first_rows(particles) if groups is None else groups


def _of_optimiser(star: Path) -> Classified:
    """The images of RELION's optimiser table."""
    return _of_table(_named(star, _general(star), "rlnExperimentalDataStarFile"), *_scale(star))


def _scale(star: Path) -> tuple[float, str]:
    """Diameter of the particle and symmetry, as an optimiser table says them."""
    general = _general(star)
    sampling = _named(star, general, "rlnOrientSamplingStarFile")
    problems: list[Problem] = []
    diameter = numbers(general, "rlnParticleDiameter", np.nan, f"data_{_GENERAL}", star, problems)
    symmetry = read_star(sampling).get(_SAMPLING, {}).get("rlnSymmetryGroup")
    if not diameter[0] > 0 or symmetry is None:
        remedy = "give the table as RELION wrote it, or the particle table with --diameter and --symmetry"
        problems.append(Problem("does not say diameter and symmetry", remedy, str(star)))
    if problems or symmetry is None:
        raise BlushError(TITLE, problems)
    return float(diameter[0]), str(symmetry[0])


def _general(star: Path) -> Table:
    general = read_star(star).get(_GENERAL, {})
    if not general:
        remedy = "give the table as RELION wrote it"
        raise BlushError(TITLE, [Problem(f"has no rows in data_{_GENERAL}", remedy, str(star))])
    return general


def _named(star: Path, table: Table, name: str) -> Path:
    """The file that a column names."""
    text = str(table[name][0]) if name in table else None
    found = None if text is None else resolve(text, star)
    if found is None:
        remedy = "restore it, or move the tables back to their project"
        raise BlushError(TITLE, [Problem(f"file that it names as {name} is missing", remedy, str(star), value=text)])
    return found


def _of_table(star: Path, diameter_angst: float | None, symmetry: str | None) -> Classified:
    particles, blocks = posed_table(star, TITLE)
    table = blocks["particles"]
    problems: list[Problem] = []
    labels = numbers(table, CLASS, 0.0, BLOCK, star, problems)
    if problems:
        raise BlushError(TITLE, problems)
    return Classified(
        star,
        star.parent,
        particles,
        labels.astype(np.int64) if CLASS in table else None,
        _together(particles, table),
        diameter_angst,
        symmetry,
    )
