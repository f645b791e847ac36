"""The particle table of subtracted images, and the way back to the original ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.expectation.background import rotations
from blush.io.columns import numbers
from blush.io.moved_names import image_names_from, optics_from
from blush.io.mrc import stack_header
from blush.io.particle_columns import BLOCK, ORIGINAL, POSE_COLUMNS, find_stack
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, write_star

SHIFTS = ("blushShiftX", "blushShiftY")
"""Whole pixels that an image was moved by."""
CENTRE = ("blushCentreX", "blushCentreY", "blushCentreZ")
"""Point of the map that became the centre, in pixels from the old one."""
_ORIGINS = (("rlnOriginXAngst", "rlnOriginYAngst"), ("rlnOriginXPriorAngst", "rlnOriginYPriorAngst"))
COMMENT = "written by Blush in the layout of RELION 3.1"


def subtracted_blocks(
    blocks: Mapping[str, Table], particles: ParticleSet, names: list[str], star: Path, box_px: int
) -> dict[str, Table]:
    """Blocks of the new table: new image names, the old ones beside them, and the new box.

    Parameters
    ----------
    names
        New names in row order.
    star
        Where the table is written; old names that do not lead to their stack from there become absolute.
    """
    table = dict(blocks["particles"])
    table[ORIGINAL] = image_names_from(star, table["rlnImageName"], particles)
    table["rlnImageName"] = np.array(names, dtype=object)
    optics = optics_from(star, blocks["optics"], particles)
    if "rlnImageSize" in optics:
        optics["rlnImageSize"] = np.full(len(optics["rlnImageSize"]), box_px)
    return {**blocks, "optics": optics, "particles": table}


def with_new_centre(
    blocks: dict[str, Table],
    star: Path,
    origins: tuple[NDArray[np.float64], NDArray[np.float64]],
    whole_px: NDArray[np.int64],
    centre_px: NDArray[np.float64],
) -> dict[str, Table]:
    """The same table with the origins that are left, and all that undoing the move needs.

    Parameters
    ----------
    origins
        (n, 2) Å before and after.
    whole_px
        (n, 2) that the images were moved by.
    centre_px
        (3,) point of the map that became the centre.

    Raises
    ------
    BlushError
        Where origins of a prior are no numbers.
    """
    table, (before, after) = dict(blocks["particles"]), origins
    table = {name: column for name, column in table.items() if name not in ("rlnOriginX", "rlnOriginY")}
    moved_angst = after - before
    for axis, name in enumerate(_ORIGINS[0]):
        table[name] = after[:, axis]
    problems: list[Problem] = []
    for axis, name in enumerate(_ORIGINS[1]):
        if name in table:
            table[name] = numbers(table, name, 0.0, BLOCK, star, problems) + moved_angst[:, axis]
    if problems:
        raise BlushError("origins cannot be moved", problems)
    table |= {name: whole_px[:, axis] for axis, name in enumerate(SHIFTS)}
    table |= {name: np.full(len(before), centre_px[axis]) for axis, name in enumerate(CENTRE)}
    return {**blocks, "particles": table}


def revert(star: Path, output: Path) -> Path:
    """Write `original.star`: the table with the names of the original images, and origins in their frame.

    Poses found since are kept: the origin becomes o + n + A c for the whole pixels n that the image was moved by, the
    centre c and the present rotation A.

    Raises
    ------
    BlushError
        The table has no original names, or these lead nowhere.
    """
    particles, blocks = read_particles(star, find_stacks=False)
    table = dict(blocks["particles"])
    if ORIGINAL not in table:
        remedy = "give particles_subtracted.star, or a table that was refined from it"
        raise BlushError("nothing to revert", [Problem(f"column {ORIGINAL} is missing", remedy, str(star), BLOCK)])
    target = output / "original.star"
    table["rlnImageName"] = table.pop(ORIGINAL)
    table = _old_centre(table, particles, star)
    optics = dict(blocks["optics"])
    boxes = _boxes({**blocks, "particles": table}, particles, star)
    if "rlnImageSize" in optics:
        optics["rlnImageSize"] = boxes
    write_star(target, {**blocks, "optics": optics, "particles": table}, comment=COMMENT)
    return target


def _old_centre(table: Table, particles: ParticleSet, star: Path) -> Table:
    """The table with origins in the frame of the original images, and without the columns that say how."""
    if not set(SHIFTS) | set(CENTRE) <= table.keys():
        return table
    missing = [name for name in POSE_COLUMNS if name not in table]
    problems = [Problem("column is missing", "restore it", str(star), f"{BLOCK}, {name}") for name in missing]
    columns = [numbers(table, name, 0.0, BLOCK, star, problems) for name in (*SHIFTS, *CENTRE)]
    if problems:
        raise BlushError("nothing to revert", problems)
    pixel_angst = np.array([group.pixel_size_angst for group in particles.optics])[particles.optics_index]
    centre = torch.from_numpy(np.stack(columns[2:], axis=1))
    seen = (rotations(particles)[:, :2] @ centre[:, :, None])[..., 0].numpy()
    back = (np.stack(columns[:2], axis=1) + seen) * pixel_angst[:, None]
    kept = {name: column for name, column in table.items() if name not in (*SHIFTS, *CENTRE)}
    for pair in _ORIGINS:
        for axis, name in enumerate(pair):
            if name in kept or pair is _ORIGINS[0]:
                kept[name] = numbers(kept, name, 0.0, BLOCK, star, []) + back[:, axis]
    return kept


def _boxes(blocks: Mapping[str, Table], particles: ParticleSet, star: Path) -> NDArray[np.int64]:
    """Box of each optics group's original images, from the first of its stacks.

    Raises
    ------
    BlushError
        Where an original stack is missing.
    """
    problems: list[Problem] = []
    names = np.array([str(name).partition("@")[2] for name in blocks["particles"]["rlnImageName"]], dtype=object)
    boxes = np.array([group.box_px for group in particles.optics], dtype=np.int64)
    for group in np.unique(particles.optics_index):
        name = names[np.flatnonzero(particles.optics_index == group)[0]]
        path = find_stack(name, star)
        if path is None:
            remedy = "restore the original stack, or move the table to the project that it belongs to"
            problems.append(Problem("original stack does not exist", remedy, str(star), f"{BLOCK}, {ORIGINAL}", name))
        else:
            boxes[group] = stack_header(path).shape[2]
    if problems:
        raise BlushError("nothing to revert", problems)
    return boxes
