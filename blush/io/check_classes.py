"""Checks of a classification's settings against its particles, and of settings that the job does not use."""

from pathlib import Path

import numpy as np

from blush.config import RunConfig
from blush.config.classification import Classification
from blush.config.helix import HelixSettings
from blush.config.multibody import Multibody
from blush.errors import Problem
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.star import Table

IMAGES_PER_CLASS = 100
"""With fewer, a class of few-percent differences cannot be told from noise."""
_LABELS = "rlnClassNumber"


def check_unused(config: RunConfig) -> list[Problem]:
    """A warning where classes, bodies or a helix are described and none are asked for."""
    found: list[Problem] = []
    if config.job != "classify" and config.classification != Classification():
        remedy = "set job: classify, or remove the section"
        message = "describes classes, and the job makes none"
        found.append(Problem(message, remedy, where="classification", value=config.job))
    if config.job != "multibody" and config.multibody != Multibody():
        remedy = "set job: multibody, or remove the section"
        found.append(Problem("describes bodies, and the job has none", remedy, where="multibody", value=config.job))
    if config.job != "helix" and config.helix != HelixSettings():
        remedy = "set job: helix, or remove the section"
        found.append(Problem("describes a helix, and the job has none", remedy, where="helix", value=config.job))
    return found


def check_classes(config: RunConfig, particles: ParticleSet, table: Table) -> tuple[list[Problem], list[Problem]]:
    """What forbids a classification of these particles, and what is allowed but seldom meant.

    Parameters
    ----------
    table
        Columns of the particles' STAR file.

    Returns
    -------
    Problems, and warnings.
    """
    chosen, star, n = config.classification, str(config.particles), len(particles)
    problems: list[Problem] = []
    warnings: list[Problem] = []
    if config.regulariser.name != "wiener" and chosen.prior == "spectrum":
        remedy = "leave the section regulariser out, or classification.prior"
        message = "needs two halves of the images, which classification.prior: spectrum does not know"
        problems.append(Problem(message, remedy, where="regulariser.name", value=config.regulariser.name))
    if chosen.search != "global" and not particles.has_poses:
        remedy = "use classification.search: global, or a table with rlnAngleRot, rlnAngleTilt and rlnAnglePsi"
        problems.append(Problem("has no poses", remedy, star, "classification.search", chosen.search))
    least = chosen.folds * chosen.n_classes
    if n < least:
        remedy = "give more images, or fewer classes or folds"
        value = f"{n} for {chosen.n_classes} classes in {chosen.folds} folds"
        problems.append(Problem("has too few images", remedy, star, BLOCK, value))
    elif n < IMAGES_PER_CLASS * chosen.n_classes:
        remedy = (
            f"use at most {max(n // IMAGES_PER_CLASS, 1)} classes; what fewer images say of a class is mostly noise"
        )
        value = f"{n} for {chosen.n_classes} classes"
        warnings.append(Problem(f"has fewer than {IMAGES_PER_CLASS} images for a class", remedy, star, BLOCK, value))
    if chosen.start_from == "labels":
        found = _labels(chosen, table, Path(star))
        (problems if found and found[1] else warnings).extend([found[0]] if found else [])
    return problems, warnings


def _labels(chosen: Classification, table: Table, star: Path) -> tuple[Problem, bool] | None:
    """What is wrong with the labels of a table, and whether it forbids to start from them."""
    if _LABELS not in table:
        message, remedy = f"has no {_LABELS} to start from", "use classification.start_from: random"
        return Problem(message, remedy, str(star), BLOCK), True
    labels = np.asarray(table[_LABELS], dtype=np.int64)
    present = np.unique(labels)
    if present[0] < 1 or present[-1] > chosen.n_classes:
        remedy = f"set classification.classes to {max(int(present[-1]), 2)}, or number the classes from 1"
        value = f"{present[0]} to {present[-1]}, for {chosen.n_classes} classes"
        return Problem("numbers classes beyond those asked for", remedy, str(star), f"{BLOCK}, {_LABELS}", value), True
    if empty := sorted(set(range(1, chosen.n_classes + 1)) - set(present.tolist())):
        remedy = f"set classification.classes to {len(present)} and number them without gaps"
        value = ", ".join(map(str, empty))
        message = "gives some classes no image, which start as the mean of the others"
        return Problem(message, remedy, str(star), f"{BLOCK}, {_LABELS}", value), False
    return None
