"""Checks of the particle table as a whole: halves, duplicates, optics groups that fit together."""

from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.copies import check_copies, first_rows
from blush.io.optics import OpticsGroup
from blush.io.particle_columns import BLOCK, filament_index
from blush.io.particles import ParticleSet
from blush.io.star import Table

PIXEL_TOLERANCE_ANGST = 0.001
"""RELION's own tolerance between pixel sizes that must be equal."""


def check_table(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Every mistake that no single row shows."""
    return [
        *_check_halves(particles, star),
        *check_copies(particles, table, star),
        *_check_optics(particles, star),
        *_check_filaments(particles, table, star),
    ]


def _check_halves(particles: ParticleSet, star: Path) -> list[Problem]:
    """Each half needs particles of its own."""
    n_images = len(np.unique(first_rows(particles)))
    if n_images < 2:
        remedy = "give at least one particle per half"
        return [Problem("too few particles for two halves", remedy, str(star), BLOCK, str(n_images))]
    drawn = not particles.half.any()
    remedy = "assign particles to both, or remove rlnRandomSubset to have halves drawn"
    return [
        Problem(f"half {half} is empty", remedy, str(star), f"{BLOCK}, rlnRandomSubset", "0 particles")
        for half in (1, 2)
        if not drawn and not (particles.half == half).any()
    ]


def _check_filaments(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """All segments of a filament belong in one half; and there must be a filament for each."""
    filament = filament_index(table)
    if filament is None:
        return []
    one, two = (np.isin(filament, filament[particles.half == half]) for half in (1, 2))
    message = (
        "segments of this filament (rlnHelicalTubeID) are in both halves; they overlap, so their noise would agree"
    )
    remedy = "give all segments of a filament one rlnRandomSubset, or remove the column to have filaments drawn"
    bad = np.flatnonzero(one & two)
    first = bad[np.unique(filament[bad], return_index=True)[1]]
    values = [f"tube {table['rlnHelicalTubeID'][row]} of {table['rlnImageName'][row]}" for row in np.sort(first)]
    problems = row_problems(np.sort(first), values, message, remedy, star, BLOCK)
    if len(np.unique(filament)) < 2:
        problems.append(
            Problem("holds one filament (rlnHelicalTubeID)", "give two at least, one per half", str(star), BLOCK)
        )
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
