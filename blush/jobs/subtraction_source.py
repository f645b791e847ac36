"""Where signal subtraction takes particles, poses, scales and maps from: a finished refinement, or a table and maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.filter import multiply_shells
from blush.io.check_map import check_map
from blush.io.columns import numbers, row_problems
from blush.io.files import load_npz
from blush.io.mrc import read_volume
from blush.io.noted import check_own, noted_digest
from blush.io.particle_columns import BLOCK, NUMERIC_COLUMNS
from blush.io.particles import ParticleSet
from blush.io.star import Table, read_star
from blush.jobs.inputs import latest_state, read_frozen_particles, read_plan, with_poses
from blush.jobs.layout import RunFolder
from blush.jobs.posed_table import posed_table
from blush.jobs.sealed import checked
from blush.jobs.subtraction_models import factors, is_optimiser, read_models
from blush.refine.state import State
from blush.refine.subset import HALVES, Subset

TITLE = "nothing can be subtracted"
_OPTIMISER = "run_optimiser.star"


@dataclass(frozen=True)
class ImageSet:
    """Images that one map predicts: all, those of a half-set, or of a class in it.

    Attributes
    ----------
    label
        Part of the names of their stacks; empty for all images.
    rows
        Ascending rows of the table.
    """

    label: str
    map: Path
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Source:
    """Images with poses, and the maps that predict them.

    Attributes
    ----------
    star
        Table that `blocks` were read from.
    particles, blocks
        The particles at their poses, and all columns of their table, in its row order.
    sets
        Every row is in one of them, and none in images of both halves.
    filters
        (N/2 + 1,) factors of each map's shells; None where a map is taken as it is.
    factor
        (n,) group scale times norm correction over the average one: what makes a prediction a stored image's.
    own
        Whether maps and images are of one refinement, and so of one grey scale.
    digested
        Files that decide the result, besides maps and mask.
    """

    star: Path
    particles: ParticleSet
    blocks: dict[str, Table]
    sets: tuple[ImageSet, ...]
    filters: NDArray[np.float64] | None
    factor: NDArray[np.float64]
    own: bool
    digested: tuple[Path, ...]

    @property
    def maps(self) -> tuple[Path, ...]:
        """Every map, once."""
        return tuple(dict.fromkeys(images.map for images in self.sets))

    def volume(self, path: Path) -> Tensor:
        """(N, N, N) map as it predicts images."""
        volume = torch.from_numpy(read_volume(path)[0])
        return volume if self.filters is None else multiply_shells(volume, torch.from_numpy(self.filters))


def open_source(place: Path, maps: Sequence[Path], *, ignore_class: bool) -> Source:
    """Read a run folder, a particle table with its maps, or RELION's optimiser table.

    Raises
    ------
    BlushError
        With every mistake found.
    """
    place = place.absolute()
    root = place.parent if place.name == _OPTIMISER else place
    is_folder = place.is_dir() and place.suffix != ".star"
    if RunFolder(root).identity.exists():
        source = _of_run(root, maps)
    elif is_folder and not (place / _OPTIMISER).exists():
        remedy = "give the folder of a finished refinement, or a particle STAR file"
        raise BlushError(TITLE, [Problem("is no folder of a refinement", remedy, str(place))])
    elif is_folder or is_optimiser(place):
        source = _of_optimiser(place / _OPTIMISER if is_folder else place, maps, ignore_class=ignore_class)
    else:
        source = _of_table(place, maps, ignore_class=ignore_class)
    like = source.particles.optics[0]
    problems = [problem for path in source.maps for problem in check_map(path, "map", like=like)]
    if problems:
        raise BlushError(TITLE, problems)
    return source


def _sets(particles: ParticleSet, maps: Sequence[Path], star: Path) -> tuple[ImageSet, ...]:
    """Images by half-set, each with its half's map, or all with one.

    Raises
    ------
    BlushError
        Where there are too many maps, too few, twice the same, or no half-sets for two.
    """
    problems: list[Problem] = []
    halves = np.unique(particles.half).tolist()
    if not 1 <= len(maps) <= 2:
        remedy = "add --map map.mrc, or --map half1.mrc --map half2.mrc"
        problems.append(Problem("a table needs one map, or two half-maps", remedy, value=f"{len(maps)} maps"))
    if len(maps) == 2 and not set(halves) <= {1, 2}:
        remedy = "give one map, or a table with half-sets"
        problems.append(Problem("two half-maps, but no half-sets (rlnRandomSubset)", remedy, str(star), BLOCK))
    if len(maps) == 2 and all(path.is_file() for path in maps) and len({noted_digest(path) for path in maps}) == 1:
        problems.append(Problem(f"is the same map as {maps[0]}", "give the other half", str(maps[1])))
    if problems:
        raise BlushError(TITLE, problems)
    chosen = {half: maps[HALVES.index(half) if len(maps) == 2 else 0] for half in halves}
    return tuple(
        ImageSet(Subset(half).infix if half else "", chosen[half], np.flatnonzero(particles.half == half))
        for half in halves
    )


def _of_run(root: Path, maps: Sequence[Path]) -> Source:
    """Final poses and scales of a run, and its own half-maps unless others are given."""
    folder = RunFolder(root)
    state = latest_state(root)
    if state is None or not state.converged:
        remedy = "run the same command again to finish it (blush refine), then subtract"
        raise BlushError(TITLE, [Problem("has not finished refining", remedy, str(root))])
    if read_plan(root).subsets != HALVES or len(state.references.fsc) > 1:
        remedy = "give its _optimiser.star, whose tables name the map of every class"
        raise BlushError(TITLE, [Problem("is no refinement of one map in two halves", remedy, str(root))])
    star, poses_file = root / "run_data.star", folder.poses(state.iteration)
    check_own(star)
    frozen = read_frozen_particles(root)
    poses = load_npz(checked(folder, poses_file))
    particles = with_poses(frozen, poses, np.arange(len(frozen)))
    own = [checked(folder, folder.map(None, half, "unfiltered")) for half in HALVES] if not maps else list(maps)
    return Source(
        star=star,
        particles=particles,
        blocks=read_star(star, NUMERIC_COLUMNS),
        sets=_sets(particles, own, star),
        filters=None if maps else half_map_weight(state.references.fsc[0]),
        factor=_factor_of_run(particles, state),
        own=not maps,
        digested=(star, folder.state(state.iteration), poses_file),
    )


def _factor_of_run(particles: ParticleSet, state: State) -> NDArray[np.float64]:
    """Group scale times norm correction over the half's average, (n,)."""
    index = particles.half.astype(np.int64) - Subset.FIRST
    images = state.images
    scale = images.scale[index, particles.group_index]
    return scale * particles.norm_correction / images.norm_average[index]


def half_map_weight(fsc: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wiener weight of a half-map's shells, SSNR / (1 + SSNR): the FSC, and nothing from its first zero on."""
    low = np.flatnonzero(fsc[1:] <= 0)
    weight = fsc.clip(0, 1)
    weight[int(low[0]) + 1 if len(low) else len(fsc) :] = 0
    weight[0] = 1
    return weight


def _of_table(star: Path, maps: Sequence[Path], *, ignore_class: bool) -> Source:
    """A table as any program leaves it; scales of groups are not in it, and count as 1."""
    particles, blocks = posed_table(star, TITLE)
    classes = _classes(blocks["particles"], star)
    if len(found := np.unique(classes)) > 1 and not ignore_class:
        remedy = "give the _optimiser.star, select the map's class, or add --ignore-class if the map serves all"
        where, value = f"{BLOCK}, rlnClassNumber", ", ".join(map(str, found[:10].tolist()))
        raise BlushError(TITLE, [Problem("rows of several classes, but one map", remedy, str(star), where, value)])
    average = np.ones(len(particles))
    for half in np.unique(particles.half):
        rows = particles.half == half
        average[rows] = particles.norm_correction[rows].mean()
    sets, factor = _sets(particles, maps, star), particles.norm_correction / average
    return Source(star, particles, blocks, sets, filters=None, factor=factor, own=False, digested=(star,))


def _of_optimiser(star: Path, maps: Sequence[Path], *, ignore_class: bool) -> Source:
    """A refinement or classification in RELION's tables: every half and class has its own map, every group a scale."""
    models = read_models(star)
    particles, blocks = posed_table(models.data, TITLE)
    table, split = blocks["particles"], len(models.halves) == 2
    half_index = particles.half.astype(np.int64) - Subset.FIRST if split else np.zeros(len(particles), dtype=np.int64)
    if (half_index < 0).any():
        remedy = "give back the table as the refinement wrote it"
        raise BlushError(TITLE, [Problem("has no half-sets (rlnRandomSubset)", remedy, str(models.data), BLOCK)])
    factor = factors(models, table, half_index, particles.norm_correction)
    classes = np.ones(len(particles), dtype=np.int64) if ignore_class else _classes(table, models.data)
    n_classes = len(models.halves[0].maps)
    bad = np.flatnonzero((classes < 1) | (classes > n_classes))
    remedy = "give the table of the same classification, or add --ignore-class"
    if problems := row_problems(bad, classes[bad], f"the model has {n_classes} classes", remedy, models.data, BLOCK):
        raise BlushError(TITLE, problems)
    if maps:
        sets = _sets(particles, maps, models.data)
    else:
        halves = particles.half if particles.half.any() else np.zeros(len(particles), dtype=np.int8)
        sets = tuple(
            ImageSet(
                "_".join([*([Subset(half).infix] if half else []), *([f"class{k:03d}"] if n_classes > 1 else [])]),
                models.halves[HALVES.index(half) if split else 0].maps[k - 1],
                np.flatnonzero((halves == half) & (classes == k)),
            )
            for half, k in np.unique(np.stack([halves, classes]), axis=1).T.tolist()
        )
    return Source(models.data, particles, blocks, sets, None, factor, own=not maps, digested=models.files)


def _classes(table: Table, star: Path) -> NDArray[np.int64]:
    """Class of each row, 1 where none is stated."""
    problems: list[Problem] = []
    classes = numbers(table, "rlnClassNumber", 1.0, BLOCK, star, problems)
    if problems:
        raise BlushError(TITLE, problems)
    return classes.astype(np.int64)
