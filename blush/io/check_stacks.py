"""Checks of the stacks' headers against the particle table."""

from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.columns import row_problems
from blush.io.header import PIXEL_TOLERANCE, Header
from blush.io.mrc import stack_header
from blush.io.optics import OpticsGroup
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.star import Table


def check_stacks(particles: ParticleSet, table: Table, star: Path) -> tuple[np.ndarray, list[Problem]]:
    """Check every header, and that every image named exists.

    Returns
    -------
    Rows whose images can be read and are square, ascending, and the problems.
    """
    problems: list[Problem] = []
    n_images = np.zeros(len(particles.stacks), dtype=np.int64)  # stays 0 for stacks reported when they were read
    n_square = np.zeros_like(n_images)
    for index, path in enumerate(particles.stacks):
        try:
            header = stack_header(path)
        except BlushError:
            continue
        groups = np.unique(particles.optics_index[particles.stack_index == index])
        problems += _shape_problems(header, path)
        problems += [problem for group in groups for problem in _against_optics(header, path, particles.optics[group])]
        n_images[index] = header.shape[0]
        n_square[index] = header.shape[0] if header.shape[1] == header.shape[2] else 0
    problems += _index_problems(particles, n_images, table, star)
    in_range = (particles.image_index >= 0) & (particles.image_index < n_square[particles.stack_index])
    return np.flatnonzero(in_range), problems


def _shape_problems(header: Header, path: str) -> list[Problem]:
    """Images must be square and of even size."""
    _, height, width = header.shape
    if height != width:
        return [Problem("images are not square", "extract square images", path, "header", f"{width} x {height} px")]
    if width % 2:
        remedy = f"crop to {width - 1} px or extract again with an even box"
        return [Problem("box is odd", remedy, path, "header", f"{width} px")]
    return []


def _against_optics(header: Header, path: str, group: OpticsGroup) -> list[Problem]:
    """Box and pixel size must be those of the optics group; headers that say 0 or 1 Å say nothing."""
    problems = []
    if header.shape[2] != group.box_px:
        remedy = "correct rlnImageSize or extract again"
        value = f"{header.shape[2]} px instead of {group.box_px} px"
        problems.append(Problem(f"box differs from rlnImageSize of {group.name!r}", remedy, path, "header", value))
    known = group.pixel_size_angst > 0 and header.pixel_size_angst > 0 and header.pixel_size_angst != 1
    if known and abs(header.pixel_size_angst / group.pixel_size_angst - 1) > PIXEL_TOLERANCE:
        remedy = "correct rlnImagePixelSize, or the header where that is wrong"
        value = f"{header.pixel_size_angst:g} Å instead of {group.pixel_size_angst:g} Å"
        message = f"pixel size differs from rlnImagePixelSize of {group.name!r}"
        problems.append(Problem(message, remedy, path, "header", value))
    return problems


def _index_problems(particles: ParticleSet, n_images: np.ndarray, table: Table, star: Path) -> list[Problem]:
    """Every image number must be one of its stack's."""
    available = n_images[particles.stack_index]
    bad = np.flatnonzero((available > 0) & (particles.image_index >= available))
    values = [f"{table['rlnImageName'][row]}, which has {available[row]} images" for row in bad]
    remedy = "correct rlnImageName or restore the whole stack"
    return row_problems(bad, values, "image number is beyond the end of the stack", remedy, star, BLOCK)
