"""Checks of the particle table as a whole: halves, duplicates, optics groups that fit together."""

import os
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.optics import OpticsGroup
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.star import Table

PIXEL_TOLERANCE_ANGST = 0.001
"""RELION's own tolerance between pixel sizes that must be equal."""


def check_table(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Every mistake that no single row shows."""
    return [
        *_check_halves(particles, star),
        *_check_duplicates(particles, table, star),
        *_check_optics(particles, star),
    ]


def _check_halves(particles: ParticleSet, star: Path) -> list[Problem]:
    """Each half needs particles."""
    if len(particles) < 2:
        remedy = "give at least one particle per half"
        return [Problem("too few particles for two halves", remedy, str(star), BLOCK, str(len(particles)))]
    drawn = not particles.half.any()
    remedy = "assign particles to both, or remove rlnRandomSubset to have halves drawn"
    return [
        Problem(f"half {half} is empty", remedy, str(star), f"{BLOCK}, rlnRandomSubset", "0 particles")
        for half in (1, 2)
        if not drawn and not (particles.half == half).any()
    ]


def _check_duplicates(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """No image may count twice; across halves it would make them agree."""
    real = {path: index for index, path in enumerate(dict.fromkeys(map(os.path.realpath, particles.stacks)))}
    stack = np.array([real[os.path.realpath(path)] for path in particles.stacks], dtype=np.int64)
    image = np.stack([stack[particles.stack_index], particles.image_index], axis=1)
    _, first, inverse = np.unique(image, axis=0, return_index=True, return_inverse=True)
    earliest = first[inverse.reshape(-1)]  # np.unique sorts stably: the first row of each image
    rows = np.flatnonzero(earliest != np.arange(len(earliest)))
    rows = rows[particles.image_index[rows] >= 0]  # unreadable names are reported on their own
    across = particles.half[rows] != particles.half[earliest[rows]]
    values = [f"{table['rlnImageName'][row]}, first in row {earliest[row] + 1}" for row in rows]
    problems: list[Problem] = []
    for chosen, where in ((~across, "the same half"), (across, "both halves")):
        kept = [value for value, is_kept in zip(values, chosen, strict=True) if is_kept]
        message = f"image is listed twice, in {where}"
        problems += row_problems(rows[chosen], kept, message, "remove one of the rows", star, BLOCK)
    return problems


def _check_optics(particles: ParticleSet, star: Path) -> list[Problem]:
    """All particles must share one box and one pixel size."""
    used = [particles.optics[index] for index in np.unique(particles.optics_index)]
    if not used:
        return []
    first = used[0]
    remedy = f"extract all particles with box {first.box_px} px and pixel size {first.pixel_size_angst:g} Å"
    return [
        Problem(
            f"optics group differs from {first.name!r} in {what}",
            remedy,
            str(star),
            f"data_optics {group.name!r}",
            value,
        )
        for group in used[1:]
        for what, value in _differences(first, group)
    ]


def _differences(first: OpticsGroup, other: OpticsGroup) -> list[tuple[str, str]]:
    """What keeps two optics groups from one refinement, with the other's value."""
    found = []
    if abs(first.pixel_size_angst - other.pixel_size_angst) > PIXEL_TOLERANCE_ANGST:
        found.append(("pixel size", f"{other.pixel_size_angst:g} Å instead of {first.pixel_size_angst:g} Å"))
    if first.box_px != other.box_px:
        found.append(("box size", f"{other.box_px} px instead of {first.box_px} px"))
    return found
