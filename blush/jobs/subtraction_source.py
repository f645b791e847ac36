"""Where signal subtraction takes particles, poses, scales and maps from: a finished refinement, or a table and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.filter import multiply_shells
from blush.io.check_map import check_map
from blush.io.check_stacks import check_stacks
from blush.io.check_table import check_table
from blush.io.columns import numbers
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.noted import check_own
from blush.io.particle_columns import BLOCK, NUMERIC_COLUMNS, POSE_COLUMNS
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import Table, read_star
from blush.jobs.inputs import latest_state, read_frozen_particles, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import checked
from blush.refine.state import RefinementState
from blush.refine.subset import Subset

TITLE = "nothing can be subtracted"


@dataclass(frozen=True)
class Source:
    """Images with poses, and the maps that predict them.

    Attributes
    ----------
    star
        Table that `blocks` were read from.
    particles, blocks
        The particles at their poses, and all columns of their table, in its row order.
    maps
        Paths of one map, or of those of half 1 and half 2.
    filters
        (N/2 + 1,) factors of each map's shells; None where a map is taken as it is.
    factor
        (n,) group scale times norm correction over the average one: what makes a prediction a stored image's.
    own
        Whether maps and images are of one refinement by Blush, and so of one grey scale.
    digested
        Files that decide the result, besides maps and mask.
    """

    star: Path
    particles: ParticleSet
    blocks: dict[str, Table]
    maps: tuple[Path, ...]
    filters: NDArray[np.float64] | None
    factor: NDArray[np.float64]
    own: bool
    digested: tuple[Path, ...]

    def volume(self, half: int) -> Tensor:
        """(N, N, N) map that predicts the images of a half; 0 stands for images without halves."""
        path = self.maps[Subset(half).index if len(self.maps) > 1 else 0]
        volume = torch.from_numpy(read_volume(path)[0])
        return volume if self.filters is None else multiply_shells(volume, torch.from_numpy(self.filters))

    def halves(self) -> tuple[int, ...]:
        """Numbers of the half-sets that the images are in; 0 where they are in none."""
        return tuple(int(half) for half in np.unique(self.particles.half))


def open_source(place: Path, maps: Sequence[Path], *, ignore_class: bool) -> Source:
    """Read a run folder, or a particle table with its maps.

    Raises
    ------
    BlushError
        With every mistake found.
    """
    source = _of_run(place.absolute(), maps) if place.is_dir() else _of_table(place, maps)
    particles, problems = source.particles, _map_problems(source)
    if len(source.maps) > 1 and not set(source.halves()) <= {1, 2}:
        remedy = "give one map, or a table with half-sets"
        problems.append(Problem("two half-maps, but no half-sets (rlnRandomSubset)", remedy, str(source.star), BLOCK))
    classes = numbers(source.blocks["particles"], "rlnClassNumber", 1.0, BLOCK, source.star, problems)
    if len(found := np.unique(classes)) > 1 and not ignore_class:
        remedy = "select the particles of the map's class, or add --ignore-class if the map serves all"
        where, value = f"{BLOCK}, rlnClassNumber", ", ".join(f"{one:g}" for one in found[:10])
        problems.append(Problem("rows of several classes, but one map", remedy, str(source.star), where, value))
    if not len(particles):
        problems.append(Problem("holds no particles", "give a table with rows", str(source.star), BLOCK))
    if problems:
        raise BlushError(TITLE, problems)
    return source


def _map_problems(source: Source) -> list[Problem]:
    """Maps must have the box and pixel size of the images; there are one or two."""
    if not 1 <= len(source.maps) <= 2:
        remedy = "add --map map.mrc, or --map half1.mrc --map half2.mrc"
        return [Problem("a table needs one map, or two half-maps", remedy, value=f"{len(source.maps)} maps")]
    like = source.particles.optics[0] if source.particles.optics else None
    return [problem for path in source.maps for problem in check_map(path, "map", like=like)]


def _of_run(root: Path, maps: Sequence[Path]) -> Source:
    """Final poses and scales of a run, and its own half-maps unless others are given."""
    folder = RunFolder(root)
    state = latest_state(root) if folder.imported.exists() else None
    if state is None or not state.converged:
        remedy = "give the folder of a finished refinement (blush refine goes on with it), or a particle STAR file"
        raise BlushError(TITLE, [Problem("is no finished refinement by Blush", remedy, str(root))])
    star, poses_file = root / "run_data.star", folder.poses(state.iteration)
    check_own(star)
    frozen = read_frozen_particles(root)
    poses = load_npz(checked(folder, poses_file))
    particles = with_poses(frozen, poses, np.arange(len(frozen)))
    return Source(
        star=star,
        particles=particles,
        blocks=read_star(star, NUMERIC_COLUMNS),
        maps=tuple(maps) or tuple(checked(folder, folder.unfiltered(half)) for half in Subset),
        filters=None if maps else half_map_weight(state.fsc),
        factor=_factor_of_run(particles, state),
        own=not maps,
        digested=(star, folder.state(state.iteration), poses_file),
    )


def _factor_of_run(particles: ParticleSet, state: RefinementState) -> NDArray[np.float64]:
    """Group scale times norm correction over the half's average, (n,)."""
    index = particles.half.astype(np.int64) - Subset.FIRST
    scale, average = state.scale[index, particles.group_index], state.norm_average[index]
    return scale * particles.norm_correction / average


def half_map_weight(fsc: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wiener weight of a half-map's shells, SSNR / (1 + SSNR): the FSC, and nothing from its first zero on."""
    low = np.flatnonzero(fsc[1:] <= 0)
    weight = fsc.clip(0, 1)
    weight[int(low[0]) + 1 if len(low) else len(fsc) :] = 0
    weight[0] = 1
    return weight


def _of_table(star: Path, maps: Sequence[Path]) -> Source:
    """A table as any program leaves it; scales of groups are not in it, and count as 1."""
    particles, blocks = read_particles(star)
    table = blocks["particles"]
    problems = [*check_table(particles, table, star), *check_stacks(particles, table, star)[1]]
    if missing := [name for name in POSE_COLUMNS if name not in table]:
        remedy = "give the table of a refinement"
        problems.append(Problem(f"has no poses: {', '.join(missing)} missing", remedy, str(star), BLOCK))
    if problems:
        raise BlushError(TITLE, problems)
    average = np.ones(len(particles))
    for half in np.unique(particles.half):
        rows = particles.half == half
        average[rows] = particles.norm_correction[rows].mean()
    if not (particles.norm_correction > 0).all():
        remedy = "remove the column, or give the table of a refinement"
        raise BlushError(TITLE, [Problem("rlnNormCorrection must be above 0", remedy, str(star), BLOCK)])
    return Source(
        star=star,
        particles=replace(particles, image_digest=None),
        blocks=blocks,
        maps=tuple(maps),
        filters=None,
        factor=particles.norm_correction / average,
        own=False,
        digested=(star,),
    )
