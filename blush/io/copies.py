"""Rows that show one image, as after symmetry expansion, or parts of one filament: their noise is the same.

Such rows belong in one half; in both they would make the half-maps agree by their noise.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.particle_columns import BLOCK, filament_index
from blush.io.particles import ParticleSet
from blush.io.star import Table

_POSES = ("rot_deg", "tilt_deg", "psi_deg", "offset_x_angst", "offset_y_angst")


def first_rows(particles: ParticleSet) -> np.ndarray:
    """Row in which the image of each row is listed first, (n,) int64; stacks are told apart by file, not by name."""
    return _first(_files(particles.stacks)[particles.stack_index], particles.image_index)


@lru_cache(maxsize=2)
def _files(stacks: tuple[str, ...]) -> np.ndarray:
    """Number of the file that each path leads to; asked for several times in one check, of thousands of stacks."""
    paths = list(map(os.path.realpath, stacks))
    number = {path: index for index, path in enumerate(dict.fromkeys(paths))}
    return np.array([number[path] for path in paths], dtype=np.int64)


def _first(*columns: np.ndarray) -> np.ndarray:
    """First row with the same values as each row."""
    order = np.lexsort(columns[::-1])  # stable: the first row of equal ones comes first
    is_new = np.ones(len(order), dtype=bool)
    is_new[1:] = np.any([column[order[1:]] != column[order[:-1]] for column in columns], axis=0)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[is_new][np.cumsum(is_new) - 1]
    return first


def drawn_together(particles: ParticleSet, table: Table) -> np.ndarray | None:
    """Number of the group that each row is drawn into a half with, (n,); None where every row is drawn alone."""
    filament = filament_index(table, coarse=True)
    image = first_rows(particles)
    if filament is not None:
        return filament[image]
    return None if (image == np.arange(len(image))).all() else np.unique(image, return_inverse=True)[1].reshape(-1)


def check_copies(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Refuse images that count twice: with the same pose, or in both halves."""
    image, rows = first_rows(particles), np.arange(len(particles))
    is_copy = (image != rows) & (particles.image_index >= 0)  # unreadable names are reported on their own
    if not is_copy.any():
        return []
    is_posed = is_copy & (_first(image, *(getattr(particles, name) for name in _POSES)) == rows)
    is_across = particles.half != particles.half[image]
    once = "remove one of the rows"
    kinds = (
        (is_copy & ~is_posed & ~is_across, "image is listed twice, in the same half", once),
        (is_copy & ~is_posed & is_across, "image is listed twice, in both halves", once),
        (
            is_posed & is_across,
            "image is in both halves, with several poses",
            "give all rows of an image one rlnRandomSubset, or remove the column to have halves drawn by image",
        ),
    )
    problems: list[Problem] = []
    for is_bad, message, remedy in kinds:
        bad = np.flatnonzero(is_bad)
        values = [f"{table['rlnImageName'][row]}, first in row {image[row] + 1}" for row in bad]
        problems += row_problems(bad, values, message, remedy, star, BLOCK)
    return problems


def check_contents(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Refuse images that are listed under two names: two measurements never have the same pixels.

    Parameters
    ----------
    particles
        With the digest of each image.
    """
    if particles.image_digest is None:
        return []
    image, content = first_rows(particles), _first(particles.image_digest)
    bad = np.flatnonzero(content[image] != image)
    names = table["rlnImageName"]
    values = [f"{names[row]}, as {names[content[image[row]]]} in row {content[image[row]] + 1}" for row in bad]
    message = "image has the pixels of another"
    return row_problems(bad, values, message, "remove one of the rows, or extract the stack again", star, BLOCK)


def expansion(particles: ParticleSet) -> str | None:
    """How many rows show how many images, where images are listed several times; None where each is listed once."""
    images = len(np.unique(first_rows(particles)))
    return None if images == len(particles) else f"{len(particles)} rows of {images} images"
