"""First maps of filaments: a cylinder, units of a model, or the section that class averages or filaments show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.fourier.filter import raised_cosine
from blush.fourier.grid import radius_2d
from blush.geometry.helix import Helix
from blush.helix.masks import Tube, tube_mask
from blush.helix.section import SectionFound, section_of_classes
from blush.helix.starts import cylinder, resampled, twisted
from blush.io.filaments import with_filaments
from blush.io.mrc import map_stack, stack_header, write_volume
from blush.io.particles import read_particles
from blush.jobs.filament_strips import straight_filaments
from blush.simulate.atoms import Atoms, Frame, read_unit
from blush.simulate.filament_unit import Unit, helix_map, turned, unit_of_atoms
from blush.simulate.settings import Imaging, SimulateConfig, Specimen

TITLE = "no first map can be made"
OVERSAMPLING = 3.0
"""Pixels to the finest detail that a section is made of."""
CENTRAL_PART = 0.7
"""Part of averages and segments along the filament that is used; beyond it averages fade into their circle."""


@dataclass(frozen=True)
class Wanted:
    """The map to be written.

    Attributes
    ----------
    output
        Its file.
    box_px, pixel_size_angst
        Its box and pixel size.
    tube
        Where the filament is.
    """

    output: Path
    box_px: int
    pixel_size_angst: float
    tube: Tube

    def write(self, volume: Tensor) -> Path:
        """Write the map, under the tube's mask."""
        mask = tube_mask(self.box_px, self.pixel_size_angst, self.tube)
        self.output.parent.mkdir(parents=True, exist_ok=True)
        write_volume(self.output, (volume.float() * mask).numpy(), self.pixel_size_angst)
        return self.output


@dataclass(frozen=True)
class Wish:
    """What is known of a section that is to be found.

    Attributes
    ----------
    crossover_angst
        Distance of two cross-overs.
    resolution_angst
        Finest detail used; coarser than the rungs.
    shift_angst
        How far off the axis averages or filaments may be.
    left_handed
        Hand of the slow twist, which they do not show.
    beginnings, seed
        Random beginnings, of which the best is taken.
    """

    crossover_angst: float
    resolution_angst: float
    shift_angst: float
    left_handed: bool
    beginnings: int
    seed: int

    def columns_per_turn(self, pixel_angst: float) -> int:
        """Columns to a whole turn of images with this pixel, even."""
        finest = max(self.resolution_angst / OVERSAMPLING, pixel_angst)
        return 2 * math.floor(self.crossover_angst / finest)

    def problems(self, pixel_angst: float) -> list[Problem]:
        """What cannot be done with images of this pixel."""
        if 2 * pixel_angst <= self.resolution_angst < self.crossover_angst / 4:
            return []
        remedy, value = f"give {2 * pixel_angst:.1f} Å to a quarter of the cross-over", f"{self.resolution_angst:g}"
        return [Problem("this detail cannot be used", remedy, where="--resolution", value=value)]


def write_cylinder(wanted: Wanted) -> Path:
    """Write a featureless tube."""
    return wanted.write(cylinder(wanted.box_px, wanted.pixel_size_angst, wanted.tube))


def write_model(wanted: Wanted, helix: Helix, specimen: Specimen, axis: tuple[float, float] | None) -> Path:
    """Write the map of a helix whose unit is an atomic model.

    Parameters
    ----------
    specimen
        The model and its chains.
    axis
        x and y of the filament's axis in the model's frame, in Å; None: through its centre of mass.

    Raises
    ------
    BlushError
        If the model cannot be used.
    """
    identity, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    atoms = read_unit(specimen).atoms
    if axis is not None:
        at = torch.tensor([axis[0], axis[1], 0.0], dtype=torch.float64)
        raw = read_unit(specimen, Frame(identity, at, zero)).atoms
        height = torch.tensor([0.0, 0.0, float(raw.position_angst[:, 2].mean())], dtype=torch.float64)
        atoms = Atoms(raw.element, raw.position_angst - height, raw.occupancy, raw.bfactor_angst2)
    unit = unit_of_atoms(atoms, specimen.solvent_density)
    copies = torch.cat([turned(unit.position_angst, 360 * k / helix.fold) for k in range(helix.fold)])
    unit = Unit(copies, unit.amplitude.repeat(helix.fold, 1), unit.width_angst2.repeat(helix.fold, 1))
    imaging = Imaging(box_px=wanted.box_px, pixel_size_angst=wanted.pixel_size_angst, envelope_bfactor_angst2=0)
    return wanted.write(helix_map(unit, helix, SimulateConfig(specimen=specimen, imaging=imaging)))


def write_from_classes(wanted: Wanted, wish: Wish, stack: Path, chosen: tuple[int, ...]) -> SectionFound:
    """Write the map of the section that class averages show, turned along z.

    Parameters
    ----------
    stack
        (k, N, N) averages of segments, the filament along x.
    chosen
        Their numbers from 1; none: all.

    Raises
    ------
    BlushError
        If the stack or a value cannot be used.
    """
    images, pixel_angst = _averages(wish, stack, chosen)
    step_angst = 2 * wish.crossover_angst / wish.columns_per_turn(pixel_angst)
    width = 2 * math.floor(CENTRAL_PART * images.shape[2] * pixel_angst / step_angst / 2)
    columns = resampled(images, step_angst / pixel_angst, (_rows(wanted, wish, step_angst), width)).transpose(1, 2)
    return _write_section(wanted, wish, columns, step_angst)


def write_from_segments(wanted: Wanted, wish: Wish, star: Path, most: int) -> SectionFound:
    """Write the map of the section that filaments show, laid out straight, turned along z.

    Parameters
    ----------
    star
        Table of segments; tracks and directions are taken from it.
    most
        Filaments that are used, the longest.

    Raises
    ------
    BlushError
        If the table or a value cannot be used.
    """
    particles, blocks = read_particles(star)
    found: list[Problem] = []
    particles, _ = with_filaments(particles, blocks, star, found, [])
    pixel_angst = particles.optics[0].pixel_size_angst
    if any(group.pixel_size_angst != pixel_angst for group in particles.optics):
        found.append(Problem("pixel sizes differ between optics groups", "give segments of one of them", str(star)))
    if problems := found + wish.problems(pixel_angst):
        raise BlushError(TITLE, problems)
    step_angst = 2 * wish.crossover_angst / wish.columns_per_turn(pixel_angst)
    rows = _rows(wanted, wish, step_angst)
    strips = straight_filaments(particles, most, step_angst, rows, wish.resolution_angst, CENTRAL_PART)
    return _write_section(wanted, wish, strips.columns, step_angst, strips.seen)


def _rows(wanted: Wanted, wish: Wish, step_angst: float) -> int:
    """Pixels across that hold the tube wherever it may be."""
    return 2 * math.ceil((wanted.tube.outer_diameter_angst / 2 + wish.shift_angst) / step_angst + 2)


def _write_section(
    wanted: Wanted, wish: Wish, columns: Tensor, step_angst: float, seen: Tensor | None = None
) -> SectionFound:
    """Find the section of (k, x, y) columns and write its map."""
    angles, rows = round(2 * wish.crossover_angst / step_angst), columns.shape[2]
    if wish.left_handed:
        columns = torch.roll(columns.flip(1), 1, 1)
        seen = None if seen is None else torch.roll(seen.flip(1), 1, 1)
    across = (torch.arange(rows) - rows // 2).abs() * step_angst
    columns = columns * raised_cosine(across.float(), wanted.tube.outer_diameter_angst / 2 + step_angst, 2 * step_angst)
    shifts = round(wish.shift_angst / step_angst)
    found = section_of_classes(columns.contiguous(), angles, shifts, wish.beginnings, wish.seed, seen)
    box, pixel = wanted.box_px, wanted.pixel_size_angst
    section = resampled(found.section[None], pixel / step_angst, (box, box))[0]
    slope = (-1 if wish.left_handed else 1) * 180 / wish.crossover_angst
    wanted.write(twisted(section, box, slope * pixel))
    return found


def _averages(wish: Wish, stack: Path, chosen: tuple[int, ...]) -> tuple[Tensor, float]:
    """The chosen averages (k, N, N), low-passed, about their background, and their pixel size."""
    header = stack_header(stack)
    (count, height, width), pixel, file = header.shape, header.pixel_size_angst, str(stack)
    problems = []
    if wrong := [number for number in chosen if not 1 <= number <= count]:
        problems.append(Problem("no such class", f"choose from 1 to {count}", file, "--class", str(wrong)))
    if height != width or height % 2:
        problems.append(Problem("averages are not square and even", "crop them", file, value=f"{width} x {height}"))
    if pixel <= 0:
        problems.append(Problem("the header has no pixel size", "set it in the header", file))
    else:
        problems += wish.problems(pixel)
    if problems:
        raise BlushError(TITLE, problems)
    rows = [each - 1 for each in chosen] or list(range(count))
    images = torch.from_numpy(np.asarray(map_stack(stack)[rows], dtype=np.float32))
    background = torch.cat((images[:, : height // 8], images[:, -(height // 8) :]), 1).mean((1, 2), keepdim=True)
    weight = raised_cosine(radius_2d(height), height * pixel / wish.resolution_angst, 4)
    return torch.fft.irfft2(torch.fft.rfft2(images - background) * weight.float(), s=(height, width)), pixel
