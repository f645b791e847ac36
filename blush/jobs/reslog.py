"""`blush reslog`: maps of random subsets at the poses that the particles have, and what they resolve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.classes.given_poses import ClassSettings, expectation_of, model_of
from blush.errors import BlushError, Problem
from blush.expectation.initial_noise import initial_noise
from blush.expectation.prepare import MASK_EDGE_PX
from blush.expectation.shard import Expectation
from blush.fourier.backproject import Accumulator, hermitian, symmetrise
from blush.fourier.fsc import interpolated_resolution_at
from blush.fourier.mask import soft_sphere
from blush.fourier.thresholds import HALF_MAPS
from blush.geometry.symmetry import operators
from blush.io.check_map import check_map
from blush.io.files import write_json
from blush.io.mrc import read_volume
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.jobs.classified_source import Classified, open_classified
from blush.jobs.inputs import read_config
from blush.jobs.layout import RunFolder
from blush.maximization.reconstruct import reconstruct
from blush.validate.particle_number import resolution_by_number
from blush.validate.phase_randomise import masked_fsc
from blush.validate.reslog import Point, ResLog, reslog

TITLE = "cannot compare subsets"
FOLDER, FILE = "reslog", "reslog.json"
MOST_HALVINGS = 6
Rows = NDArray[np.int64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Wanted:
    """What the user asks for; None: as the run, or RELION's tables, say.

    Attributes
    ----------
    draws
        Random subsets of each number of particles.
    fewest
        Particles of the smallest subset, at least.
    """

    output: Path | None = None
    mask: Path | None = None
    particle_diameter_angst: float | None = None
    symmetry: str | None = None
    draws: int = 3
    fewest: int = 100
    seed: int = 1
    device: str = "cpu"


def measure_subsets(place: Path, wanted: Wanted, progress: Progress = lambda done, total: None) -> tuple[ResLog, Path]:
    """Reconstruct random subsets of a refinement's particles at its poses, half by half, and fit the lines.

    Writes reslog.json to `wanted.output`, by default `reslog` in the run's folder or beside the table.

    Returns
    -------
    What was found, and the folder.

    Raises
    ------
    BlushError
        With every mistake in the input, before anything is done.
    """
    source = open_classified(place)
    settings, mask = _settings(source, wanted)
    found, curve = _measured(source, settings, mask, wanted, progress)
    output = source.folder / FOLDER if wanted.output is None else wanted.output
    optics = source.particles.optics[0]
    predicted = resolution_by_number(curve, len(source.particles), optics.box_px, optics.pixel_size_angst)
    output.mkdir(parents=True, exist_ok=True)
    write_json(output / FILE, _record(found, wanted, settings) | {"predicted": vars(predicted)})
    return found, output


def _record(found: ResLog, wanted: Wanted, settings: ClassSettings) -> dict[str, Any]:
    return {
        "poses": "fixed",
        "symmetry": settings.symmetry,
        "draws": wanted.draws,
        "seed": wanted.seed,
        **found.record(),
    }


def _settings(source: Classified, wanted: Wanted) -> tuple[ClassSettings, Tensor]:
    """How subsets are reconstructed, and (N, N, N) the mask within which halves are compared.

    Raises
    ------
    BlushError
        With whatever is missing, or makes no sense.
    """
    problems = _unfit(source, wanted)
    particles = source.particles
    diameter, symmetry = source.shape(wanted.particle_diameter_angst, wanted.symmetry, wanted.device, problems)
    own = source.folder / "postprocess/mask.mrc"
    path = wanted.mask or (own if own.exists() else None)
    optics = particles.optics[0]
    if path is not None:
        problems += check_map(path, "mask", like=optics, is_mask=True)
    if problems or diameter is None:
        raise BlushError(TITLE, problems)
    settings = ClassSettings(1, diameter, symmetry, seed=wanted.seed, device=wanted.device)
    if path is not None:
        return settings, torch.from_numpy(read_volume(path)[0]).clamp(0, 1)
    return settings, soft_sphere(optics.box_px, diameter / (2 * optics.pixel_size_angst), MASK_EDGE_PX)


def _unfit(source: Classified, wanted: Wanted) -> list[Problem]:
    """Why the particles make no two independent maps by inserting each at its pose."""
    star, particles, problems = str(source.star), source.particles, []
    is_run = RunFolder(source.folder).identity.exists()
    if is_run and (job := read_config(source.folder).job) != "refine":
        remedy = "give a finished refinement of single particles"
        problems.append(Problem("is a run of another job", remedy, str(source.folder), "job", job))
    if source.labels is not None and len(np.unique(source.labels)) > 1:
        problems.append(Problem("has several classes", "refine the images of one: `blush select`", star))
    if not (is_run or particles.has_poses):
        problems.append(Problem("has no poses", "give the table that a refinement wrote", star, BLOCK))
    if not np.isin(particles.half, (1, 2)).all():
        remedy = "give the table of a refinement whose halves were refined independently"
        problems.append(Problem("has no half-sets", remedy, star, f"{BLOCK}, rlnRandomSubset"))
    elif (most := 2 * min(_groups(source, half) for half in (1, 2))) < 4 * wanted.fewest:
        remedy = f"four times --fewest, {wanted.fewest}, are needed"
        problems.append(Problem("has too few particles for subsets", remedy, star, BLOCK, str(most)))
    return problems


def _groups(source: Classified, half: int) -> int:
    return len(np.unique(source.together[source.particles.half == half]))


def _measured(
    source: Classified, settings: ClassSettings, mask: Tensor, wanted: Wanted, progress: Progress
) -> tuple[ResLog, Tensor]:
    """Every subset's resolution, and (s,) the FSC of all particles."""
    particles = _posed(source.particles)
    optics, rng = particles.optics[0], np.random.default_rng(wanted.seed)
    step = _step(particles, settings)
    halvings = min(MOST_HALVINGS, int(math.log2(2 * min(_groups(source, half) for half in (1, 2)) / wanted.fewest)))
    total, done = len(particles) * wanted.draws, 0
    points, whole = [], torch.zeros(0)
    for draw in range(1, wanted.draws + 1):
        made = [_pieces(source, half, halvings, rng) for half in (1, 2)]
        kept: list[Accumulator | None] = [None, None]
        for level in range(1, halvings + 2):  # a half, a quarter, ..., and what is left, for the map of all
            is_rest = level > halvings
            if is_rest and draw > 1:
                break
            rows = [pieces[level - 1] for pieces in made]
            sums = [_summed(step, particles, part) for part in rows]
            done += sum(map(len, rows))
            progress(done, total)
            if draw == 1:
                kept = [one if before is None else _added(before, one) for before, one in zip(kept, sums, strict=True)]
            if not is_rest:
                curve = _curve(sums, settings, mask)
                points.append(_point(sum(map(len, rows)), draw, curve, optics.box_px, optics.pixel_size_angst))
        if draw == 1:
            whole = _curve([one for one in kept if one is not None], settings, mask)
            points.append(_point(len(particles), draw, whole, optics.box_px, optics.pixel_size_angst))
    progress(total, total)
    return reslog(sorted(points, key=lambda point: (point.particles, point.draw))), whole


def _posed(particles: ParticleSet) -> ParticleSet:
    """Without what would only be used where images compete."""
    return replace(particles, confined_to=None)


def _step(particles: ParticleSet, settings: ClassSettings) -> Expectation:
    """What adds images to a map at the poses that they have."""
    box = particles.optics[0].box_px
    noise = initial_noise(particles, settings.particle_diameter_angst, settings.seed)
    nothing = torch.zeros(box, box, box, device=settings.device)
    return expectation_of(model_of(particles, [nothing], noise, box // 2, settings), particles, settings)


def _pieces(source: Classified, half: int, halvings: int, rng: np.random.Generator) -> list[Rows]:
    """A half of a half-set's rows, a quarter, ... and the rest, drawn apart from each other; groups stay whole."""
    own = np.flatnonzero(source.particles.half == half)
    groups, index = np.unique(source.together[own], return_inverse=True)
    place = rng.permutation(len(groups))[index.reshape(-1)]
    ends = np.cumsum([len(groups) >> level for level in range(1, halvings + 1)])
    level = np.searchsorted(ends, place, side="right")
    return [own[level == one] for one in range(halvings + 1)]


def _summed(step: Expectation, particles: ParticleSet, rows: Rows) -> Accumulator:
    return step.run(particles.take(rows)).volumes[0]


def _added(first: Accumulator, second: Accumulator) -> Accumulator:
    return Accumulator(first.grid + second.grid, first.box_px, first.r_max, first.pad)


def _curve(sums: list[Accumulator], settings: ClassSettings, mask: Tensor) -> Tensor:
    """(s,) FSC of two halves, corrected for the mask."""
    group = operators(settings.symmetry).to(settings.device)
    first, second = (reconstruct(symmetrise(hermitian(one), group)).cpu() for one in sums)
    return masked_fsc(first, second, mask, settings.seed).corrected


def _point(particles: int, draw: int, curve: Tensor, box_px: int, pixel_size_angst: float) -> Point:
    resolution = interpolated_resolution_at(curve, HALF_MAPS, box_px, pixel_size_angst)
    is_counted = 2 * pixel_size_angst * (1 + 1e-6) < resolution < math.inf
    return Point(particles, draw, resolution, is_counted)
