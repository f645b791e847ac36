"""Filaments that cross or were picked twice: their segments show the same noise, so they belong in one half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from blush.errors import Problem
from blush.io.columns import row_problems
from blush.io.copies import originals
from blush.io.filaments import COORDINATES, TUBE, Segments, filament_name, place_angst, track_steps
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.star import Table
from blush.io.tracks import near_filaments

_SPACING = 0.75
"""Of the distance between segments: two filaments that cross have segments no farther apart than this."""


def filaments_together(
    particles: ParticleSet,
    blocks: dict[str, Table],
    star: Path,
    tube_radius_angst: float,
    problems: list[Problem],
    warnings: list[Problem],
) -> NDArray[np.int64] | None:
    """Number of what each row is drawn into a half with, (n,): filaments, those joined that come near or share images.

    Filaments come near where segments of two in one micrograph are within a tube's radius of each other. Where the
    table has halves already, such filaments in different ones are refused, by their names.

    Returns
    -------
    None where the rows have no filaments.
    """
    if particles.filament is None or particles.track_angst is None:
        return None
    filament = particles.filament.astype(np.int64)
    segments = Segments(blocks["particles"], blocks["optics"], star, filament, [], warnings)
    place = place_angst(particles, segments)
    if place is None:
        remedy = f"add {', '.join(COORDINATES)} to have filaments that cross or are picked twice kept in one half"
        segments.notes("has no coordinates of segments", remedy, COORDINATES[0])
        near = np.zeros((0, 2), dtype=np.int64)
    else:
        reach = _reach(particles, tube_radius_angst)
        try:
            near = near_filaments(place, filament, _micrographs(segments.table), reach)
        except ValueError as error:
            remedy = f"correct {', '.join(COORDINATES)}, or remove them"
            problems.append(Problem(str(error), remedy, str(star), f"{BLOCK}, {COORDINATES[0]}"))
            return filament
        _tell(particles, segments, near, problems)
    shared = np.stack([filament, filament[originals(particles, segments.table)]], 1)
    links = np.concatenate([near, shared[shared[:, 0] != shared[:, 1]]])
    count = int(filament.max()) + 1
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(count, count))
    parts, group = connected_components(graph, directed=False)
    if parts < 2 <= count:
        message = "all filaments come within a tube's radius of each other, so that no two halves can be drawn"
        remedy = "give filaments of more micrographs, or a smaller helix.tube_diameter_angst"
        problems.append(Problem(message, remedy, str(star), f"{BLOCK}, {TUBE}", f"{count} filaments"))
    return group[filament].astype(np.int64)


def _micrographs(table: Table) -> NDArray[np.int64]:
    """Number of the micrograph, else of the stack, of each row."""
    names = table.get("rlnMicrographName")
    if names is None:
        names = np.array([str(name).partition("@")[2] for name in table["rlnImageName"]])
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].reshape(-1).astype(np.int64)


def _reach(particles: ParticleSet, tube_radius_angst: float) -> float:
    """Distance within which segments of two filaments are looked for, in Å."""
    step = track_steps(particles)
    return max(tube_radius_angst, _SPACING * float(np.median(step)) if len(step) else 0.0)


def _tell(particles: ParticleSet, segments: Segments, near: NDArray[np.int64], problems: list[Problem]) -> None:
    """Refuse filaments that come near and are in different halves; warn of others."""
    if not len(near):
        return
    first = np.unique(segments.filament, return_index=True)[1]
    half = particles.half[first]
    parted = near[(half[near[:, 0]] != half[near[:, 1]]) & (half[near] > 0).all(1)]
    names = [" and ".join(filament_name(segments.table, row) for row in first[pair]) for pair in parted]
    message = "filaments that come within a tube's radius of each other are in different halves; they share noise"
    remedy = "give both one rlnRandomSubset, or remove the column to have halves drawn"
    problems += row_problems(first[parted[:, 0]], names, message, remedy, segments.star, BLOCK)
    if not len(parted):
        told = "filaments come within a tube's radius of others, and are kept in one half with them"
        remedy = "expected where filaments cross; remove those that were picked twice"
        segments.notes(told, remedy, TUBE, f"{len(np.unique(near))} filaments")
