"""Particles of a table that a refinement left, by whatever program: with poses, and images that can be read."""

from __future__ import annotations

from pathlib import Path

from blush.errors import BlushError, Problem
from blush.io.check_stacks import check_stacks
from blush.io.check_table import check_table
from blush.io.noted import check_own
from blush.io.particle_columns import BLOCK, POSE_COLUMNS
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table


def posed_table(star: Path, title: str) -> tuple[ParticleSet, dict[str, Table]]:
    """Particles with poses, and all their columns.

    Parameters
    ----------
    title
        What cannot be done without them.

    Raises
    ------
    BlushError
        With every mistake in the table, its stacks and its poses.
    """
    check_own(star)
    particles, blocks = read_particles(star)
    table = blocks["particles"]
    problems = [*check_table(particles, table, star), *check_stacks(particles, table, star)[1]]
    if missing := [name for name in POSE_COLUMNS if name not in table]:
        remedy = "give the table of a refinement"
        problems.append(Problem(f"has no poses: {', '.join(missing)} missing", remedy, str(star), BLOCK))
    if not (particles.norm_correction > 0).all():
        remedy = "remove the column, or give the table of a refinement"
        problems.append(Problem("rlnNormCorrection must be above 0", remedy, str(star), BLOCK))
    if problems:
        raise BlushError(title, problems)
    return particles, blocks
