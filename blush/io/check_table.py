"""Checks of the particle table as a whole: halves, duplicates, optics groups that fit together."""

import os
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import row_problems, row_ranges
from blush.io.optics import OpticsGroup
from blush.io.particle_columns import BLOCK, filament_index
from blush.io.particles import ParticleSet
from blush.io.star import Table

_LEAST_DEFOCUS_ANGST, _LARGEST_DEFOCUS_ANGST = 2000.0, 100_000.0
"""0.2 to 10 µm of underfocus: what single particles are imaged with; beyond it the unit is likely another."""

PIXEL_TOLERANCE_ANGST = 0.001
"""RELION's own tolerance between pixel sizes that must be equal."""


def check_table(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Every mistake that no single row shows."""
    return [
        *_check_halves(particles, star),
        *_check_duplicates(particles, table, star),
        *_check_optics(particles, star),
        *_check_filaments(particles, table, star),
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


def check_values(particles: ParticleSet, table: Table, star: Path) -> list[Problem]:
    """Warn of values that are possible but nearly always another unit, another sign, or a failed fit."""
    if "rlnDefocusU" not in table:
        return []
    u, v = particles.defocus_u_angst, particles.defocus_v_angst
    small, low = np.minimum(abs(u), abs(v)), np.minimum(u, v)
    premise = np.isfinite(u) & np.isfinite(v)
    kinds = (
        (
            low < 0,
            "defocus is negative, which is overfocus",
            "change its sign where the program that wrote it means so",
        ),
        (
            (low >= 0) & (small > 0) & (small < _LEAST_DEFOCUS_ANGST),
            f"defocus is below {_LEAST_DEFOCUS_ANGST:g} Å",
            "give it in Å; a value in µm is 10,000 times too small, one in nm 10 times",
        ),
        (small > _LARGEST_DEFOCUS_ANGST, f"defocus is above {_LARGEST_DEFOCUS_ANGST:g} Å", "give it in Å"),
        (
            (low > 0) & (np.maximum(u, v) > 2 * small),
            "rlnDefocusU and rlnDefocusV differ by more than a factor of two",
            "remove particles of micrographs whose CTF fit has failed",
        ),
    )
    warnings = []
    for is_odd, message, remedy in kinds:
        if len(rows := np.flatnonzero(is_odd & premise)):
            value = f"{len(rows)} of {len(u)} rows; the first has U {u[rows[0]]:g} and V {v[rows[0]]:g}"
            warnings.append(Problem(message, remedy, str(star), f"{BLOCK} row {row_ranges(rows)}", value))
    return warnings


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
        remedy = "remove one of the rows; after symmetry expansion give the table from before it, with `symmetry` set"
        problems += row_problems(rows[chosen], kept, message, remedy, star, BLOCK)
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
