"""First maps of filaments, from files to a file: a cylinder, units of a model, or the section that classes show."""

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
from blush.io.mrc import map_stack, stack_header, write_volume
from blush.simulate.atoms import Atoms, Frame, read_unit
from blush.simulate.filament_unit import Unit, helix_map, turned, unit_of_atoms
from blush.simulate.settings import Imaging, SimulateConfig, Specimen

TITLE = "no first map can be made"
OVERSAMPLING = 3.0
"""Pixels to the finest detail that a section is made of."""
CENTRAL_COLUMNS = 0.7
"""Part of the averages along the filament that is used; beyond it they fade into their circle."""


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
class Classes:
    """Averages of segments, the filament along x.

    Attributes
    ----------
    stack
        (k, N, N) images.
    chosen
        Their numbers from 1; none: all.
    crossover_angst
        Distance of two cross-overs.
    resolution_angst
        Finest detail used; coarser than the rungs.
    shift_angst
        How far off the axis averages may be.
    left_handed
        Hand of the slow twist, which averages do not show.
    beginnings, seed
        Random beginnings, of which the best is taken.
    """

    stack: Path
    chosen: tuple[int, ...]
    crossover_angst: float
    resolution_angst: float
    shift_angst: float
    left_handed: bool
    beginnings: int
    seed: int


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


def write_from_classes(wanted: Wanted, classes: Classes) -> SectionFound:
    """Write the map of the section that class averages show, turned along z.

    Raises
    ------
    BlushError
        If the stack or a value cannot be used.
    """
    images, pixel_angst = _averages(classes)
    turn = 2 * classes.crossover_angst
    wished = max(classes.resolution_angst / OVERSAMPLING, pixel_angst)
    angles = 2 * math.floor(turn / wished / 2)
    step_angst = turn / angles
    width = 2 * math.floor(CENTRAL_COLUMNS * images.shape[2] * pixel_angst / step_angst / 2)
    rows = 2 * math.ceil((wanted.tube.outer_diameter_angst / 2 + classes.shift_angst) / step_angst + 2)
    columns = resampled(images, step_angst / pixel_angst, (rows, width)).transpose(1, 2)
    if classes.left_handed:
        columns = torch.roll(columns.flip(1), 1, 1)
    across = (torch.arange(rows) - rows // 2).abs() * step_angst
    columns = columns * raised_cosine(across.float(), wanted.tube.outer_diameter_angst / 2 + step_angst, 2 * step_angst)
    shifts = round(classes.shift_angst / step_angst)
    found = section_of_classes(columns.contiguous(), angles, shifts, classes.beginnings, classes.seed)
    box, pixel = wanted.box_px, wanted.pixel_size_angst
    section = resampled(found.section[None], pixel / step_angst, (box, box))[0]
    slope = (-1 if classes.left_handed else 1) * 180 / classes.crossover_angst
    wanted.write(twisted(section, box, slope * pixel))
    return found


def _averages(classes: Classes) -> tuple[Tensor, float]:
    """The chosen averages (k, N, N), low-passed, about their background, and their pixel size."""
    header = stack_header(classes.stack)
    (count, height, width), pixel, file = header.shape, header.pixel_size_angst, str(classes.stack)
    problems = []
    if wrong := [number for number in classes.chosen if not 1 <= number <= count]:
        problems.append(Problem("no such class", f"choose from 1 to {count}", file, "--class", str(wrong)))
    if height != width or height % 2:
        problems.append(Problem("averages are not square and even", "crop them", file, value=f"{width} x {height}"))
    if pixel <= 0:
        problems.append(Problem("the header has no pixel size", "set it in the header", file))
    elif not 2 * pixel <= classes.resolution_angst < classes.crossover_angst / 4:
        remedy, value = f"give {2 * pixel:.1f} Å to a quarter of the cross-over", f"{classes.resolution_angst:g}"
        problems.append(Problem("this detail cannot be used", remedy, where="--resolution", value=value))
    if problems:
        raise BlushError(TITLE, problems)
    rows = [each - 1 for each in classes.chosen] or list(range(count))
    images = torch.from_numpy(np.asarray(map_stack(classes.stack)[rows], dtype=np.float32))
    background = torch.cat((images[:, : height // 8], images[:, -(height // 8) :]), 1).mean((1, 2), keepdim=True)
    weight = raised_cosine(radius_2d(height), height * pixel / classes.resolution_angst, 4)
    return torch.fft.irfft2(torch.fft.rfft2(images - background) * weight.float(), s=(height, width)), pixel
