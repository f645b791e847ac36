"""Names of files in a particle table that is written elsewhere: they must lead to the same files from there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from blush.io.particle_columns import find_stack
from blush.io.particles import ParticleSet
from blush.io.star import Table


def image_names_from(star: Path, names: np.ndarray, particles: ParticleSet) -> np.ndarray:
    """Image names that lead to their stacks from a table that is written as `star`."""
    parts = [str(name).partition("@") for name in names]
    known: dict[str, str] = {}
    for (_, _, stack), index in zip(parts, particles.stack_index.tolist(), strict=True):
        if stack not in known:
            known[stack] = _name_from(star, stack, particles.stacks[index])
    return np.array([f"{number}@{known[stack]}" for number, _, stack in parts], dtype=object)


def optics_from(star: Path, optics: Mapping[str, np.ndarray], particles: ParticleSet) -> Table:
    """Table of optics groups whose detector files can be found from `star`."""
    moved = dict(optics)
    if "rlnMtfFileName" in moved:
        files = [group.mtf_file for group in particles.optics]
        pairs = zip(moved["rlnMtfFileName"], files, strict=True)
        moved["rlnMtfFileName"] = np.array([_name_from(star, str(name), file) for name, file in pairs], dtype=object)
    return moved


def _name_from(star: Path, name: str, path: str | None) -> str:
    """The name where it leads from the table's folder to the file; else the file's absolute path."""
    if path is None:
        return name
    found = find_stack(name, star)
    return name if found is not None and found.resolve() == Path(path).resolve() else path
