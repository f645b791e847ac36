"""The images of some classes as a table of their own: of a classification of Blush, or of any table with classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.columns import numbers, require
from blush.io.files import load_npz
from blush.io.moved_names import image_names_from, optics_from
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, write_star
from blush.jobs.inputs import latest_state, read_config, read_frozen_particles
from blush.jobs.layout import RunFolder
from blush.jobs.outputs import imported_blocks
from blush.jobs.sealed import checked
from blush.refine.data_star import data_blocks

TITLE = "nothing can be selected"
CLASS, PROBABILITY = "rlnClassNumber", "rlnMaxValueProbDistribution"


@dataclass(frozen=True)
class Selected:
    """A table that was written, and how many of how many images it holds."""

    path: Path
    kept: int
    total: int


@dataclass(frozen=True)
class _Divided:
    """Images with their classes.

    Attributes
    ----------
    labels
        (n,) class of each row.
    posterior
        (n,) probability of that class; None where it is not known.
    """

    particles: ParticleSet
    blocks: dict[str, Table]
    labels: NDArray[np.float64]
    posterior: NDArray[np.float64] | None


def select_classes(
    place: Path, classes: Sequence[int], least_posterior: float | None = None, output: Path | None = None
) -> Selected:
    """Write the rows of some classes, in their order and with all columns.

    Image names stay where they lead to their stacks from the new table, and become absolute where they do not.

    Parameters
    ----------
    place
        Folder of a classification, finished or not: its last iteration counts; or a STAR file with `rlnClassNumber`.
    least_posterior
        Only images whose class is at least as probable; of a STAR file, `rlnMaxValueProbDistribution` is compared.
    output
        None: `selected_1_3.star` beside the table, or in the folder of the run.

    Raises
    ------
    BlushError
        There are no classes, one that is wanted holds no image, nothing is left, or the table would replace its source.
    """
    place = place.absolute()
    found = _of_run(place) if RunFolder(place).identity.exists() else _of_table(place)
    _refuse_missing(found.labels, classes, place)
    chosen = np.isin(found.labels, list(classes))
    if least_posterior is not None:
        chosen &= _as_probable(found.posterior, chosen, least_posterior, place)
    name = f"selected_{'_'.join(map(str, sorted(set(classes))))}.star"
    target = (place if place.is_dir() else place.parent) / name if output is None else output.absolute()
    if target.exists() and target.samefile(place):
        raise BlushError(TITLE, [Problem("would replace the table that is read", "give another name", str(target))])
    particles = found.particles.take(chosen)
    table = {name: column[chosen] for name, column in found.blocks["particles"].items()}
    table["rlnImageName"] = image_names_from(target, table["rlnImageName"], particles)
    optics = optics_from(target, found.blocks["optics"], particles)
    write_star(target, {**found.blocks, "optics": optics, "particles": table}, comment="selected by Blush")
    return Selected(target, int(chosen.sum()), len(chosen))


def _of_run(root: Path) -> _Divided:
    """The images of a run as its last iteration divided them."""
    if read_config(root).job != "classify":
        remedy = "give the folder of a run with job: classify"
        raise BlushError(TITLE, [Problem("is a refinement, which has no classes", remedy, str(root))])
    state = latest_state(root)
    if state is None or state.iteration == 0:
        raise BlushError(TITLE, [Problem("has not divided its images yet", "wait for its first iteration", str(root))])
    folder, particles = RunFolder(root), read_frozen_particles(root)
    poses = load_npz(checked(folder, folder.poses(state.iteration)))
    blocks = data_blocks(imported_blocks(root), particles, poses)
    return _Divided(particles, blocks, poses["class_number"].astype(np.float64), poses["shares"].max(1))


def _of_table(star: Path) -> _Divided:
    """The images of a table with classes."""
    if star.is_dir() and star.suffix != ".star":
        remedy = "give the folder of a run with job: classify, or a particle STAR file"
        raise BlushError(TITLE, [Problem("is no folder of a classification", remedy, str(star))])
    particles, blocks = read_particles(star)
    table, problems = blocks["particles"], list[Problem]()
    require(table, [CLASS], BLOCK, star, problems)
    labels = numbers(table, CLASS, 0.0, BLOCK, star, problems)
    posterior = numbers(table, PROBABILITY, 0.0, BLOCK, star, problems) if PROBABILITY in table else None
    if problems:
        raise BlushError(TITLE, problems)
    return _Divided(particles, blocks, labels, posterior)


def _as_probable(
    posterior: NDArray[np.float64] | None, chosen: NDArray[np.bool_], least: float, place: Path
) -> NDArray[np.bool_]:
    """(n,) whether the class of an image has the probability that is wanted.

    Raises
    ------
    BlushError
        Probabilities are not known, or none of the chosen images has it.
    """
    if posterior is None:
        problem = Problem(f"column {PROBABILITY} is missing", "leave --least-posterior out", str(place), BLOCK)
        raise BlushError(TITLE, [problem])
    if posterior[chosen].max() < least:
        remedy = f"lower it: the most probable image has {posterior[chosen].max():.3f}"
        raise BlushError(TITLE, [Problem("leaves no image", remedy, str(place), "--least-posterior", str(least))])
    return posterior >= least


def _refuse_missing(labels: NDArray[np.float64], classes: Sequence[int], place: Path) -> None:
    """Refuse classes that no image is in, saying which there are.

    Raises
    ------
    BlushError
        With each of them.
    """
    present, counts = np.unique(labels, return_counts=True)
    there = ", ".join(f"{number:g} ({count} images)" for number, count in zip(present, counts, strict=True))
    missing = [number for number in dict.fromkeys(classes) if number not in present]
    problems = [
        Problem("no image is in this class", f"choose among {there}", str(place), "--classes", str(number))
        for number in missing
    ]
    if problems:
        raise BlushError(TITLE, problems)
