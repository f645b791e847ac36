"""Rows that show one image, as after symmetry expansion, or parts of one filament: their noise is the same.

Such rows belong in one half; in both they would make the half-maps agree by their noise.
"""

import os
from functools import lru_cache
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.particle_columns import BLOCK, ORIGINAL, filament_index
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


def originals(particles: ParticleSet, table: Table) -> np.ndarray:
    """Row that shows the same image first, or another part that was left of it by signal subtraction, (n,) int64."""
    image = first_rows(particles)
    if ORIGINAL not in table:
        return image
    # a name without an image number is that of no image
    names = [str(name) if "@" in str(name) else str(row) for row, name in enumerate(table[ORIGINAL])]
    return _first(np.unique(names, return_inverse=True)[1].reshape(-1)[image])


def drawn_together(particles: ParticleSet, table: Table) -> np.ndarray | None:
    """Number of the group that each row is drawn into a half with, (n,); None where every row is drawn alone."""
    filament = filament_index(table, coarse=True)
    image = originals(particles, table)
    if filament is not None:
        return filament[image]
    return None if (image == np.arange(len(image))).all() else np.unique(image, return_inverse=True)[1].reshape(-1)


def check_copies(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Refuse images that count twice: with the same pose, or in both halves."""
    image, rows = first_rows(particles), np.arange(len(particles))
    problems = _parted(particles, table, star)
    is_copy = (image != rows) & (particles.image_index >= 0)  # unreadable names are reported on their own
    if not is_copy.any():
        return problems
    is_posed = is_copy & _has_own_pose(particles)
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
    for is_bad, message, remedy in kinds:
        bad = np.flatnonzero(is_bad)
        values = [f"{table['rlnImageName'][row]}, first in row {image[row] + 1}" for row in bad]
        problems += row_problems(bad, values, message, remedy, star, BLOCK)
    return problems


def _has_own_pose(particles: ParticleSet) -> np.ndarray:
    """Whether no earlier row shows the same image at the same pose, (n,) bool."""
    poses = (getattr(particles, name) for name in _POSES)
    return _first(first_rows(particles), *poses) == np.arange(len(particles))


def _parted(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Refuse parts of one image in both halves: signal subtraction leaves all of them its noise."""
    image, original = first_rows(particles), originals(particles, table)
    bad = np.flatnonzero((image != original) & (particles.half != particles.half[original]))
    values = [f"{table[ORIGINAL][row]}, first in row {original[row] + 1}" for row in bad]
    message = f"parts of one image ({ORIGINAL}) are in both halves; their noise is the same"
    remedy = "give all rows of an image one rlnRandomSubset, or remove the column to have halves drawn by image"
    return row_problems(bad, values, message, remedy, star, BLOCK)


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
    """How many rows show how many images, where some are listed at several poses; None where none is."""
    image = first_rows(particles)
    is_copy = (image != np.arange(len(image))) & (particles.image_index >= 0)
    images = len(np.unique(image))
    return None if not (is_copy & _has_own_pose(particles)).any() else f"{len(particles)} rows of {images} images"
