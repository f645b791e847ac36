"""The consensus that bodies start from: its poses, half-sets and half-maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from blush.config import RunConfig
from blush.errors import BlushError, Problem, problems_of
from blush.io.check_map import check_map
from blush.io.particles import ParticleSet

_WHOLE, _HALF = "class001.mrc", "half{}_class001_unfil.mrc"


def half_maps_of(config: RunConfig) -> tuple[Path, Path]:
    """Unfiltered half-maps of the consensus: those that are named, or those beside the reference.

    Raises
    ------
    BlushError
        If none are named, and there are none of RELION's and this program's names beside the reference.
    """
    if config.multibody.half_maps:
        first, second = config.multibody.half_maps
        return first, second
    reference = config.reference
    stem = reference.name.removesuffix(_WHOLE)
    found = [reference.with_name(stem + _HALF.format(half)) for half in (1, 2)]
    if stem == reference.name or not all(path.is_file() for path in found):
        remedy = "name the two unfiltered half-maps of the consensus in multibody.half_maps"
        message = "has no half-maps run_half1_class001_unfil.mrc and run_half2_class001_unfil.mrc beside it"
        raise BlushError("bodies need both halves", [Problem(message, remedy, str(reference), "reference")])
    return found[0], found[1]


def check_consensus(config: RunConfig, particles: ParticleSet) -> list[Problem]:
    """Problems of the poses, half-sets and half-maps of a run of several bodies."""
    from blush.io.half_maps import read_half_maps  # with torch, which whoever only looks for the files can do without

    problems: list[Problem] = []
    star = str(config.particles)
    if not particles.has_poses:
        remedy = "give the particle table of a consensus refinement, as run_data.star"
        problems.append(Problem("has no poses", remedy, star, "particles"))
    if not np.all(particles.half > 0):
        remedy = "give the table of the refinement whose half-maps these are: bodies keep its halves apart"
        problems.append(Problem("has no half-sets (rlnRandomSubset)", remedy, star, "particles"))
    try:
        halves = half_maps_of(config)
        for half, path in enumerate(halves, 1):
            problems += check_map(path, f"half-map {half} of the consensus", like=particles.optics[0])
        if not problems:
            read_half_maps(*halves)
    except BlushError as error:
        problems += problems_of(error, "multibody.half_maps")
    return problems
