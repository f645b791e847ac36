"""Checks of the maps that a run starts from: reference, masks, truth."""

from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.check_stacks import PIXEL_TOLERANCE
from blush.io.mrc import map_stack, stack_header
from blush.io.optics import OpticsGroup

_MASK_ROUNDING = 1e-3


def check_map(path: Path, role: str, like: OpticsGroup | None = None, is_mask: bool = False) -> list[Problem]:
    """Check one map.

    Parameters
    ----------
    role
        What the map is for, as the message names it.
    like
        Optics whose box and pixel size the map must have; any are fine where it is None.
    is_mask
        Whether values must lie in [0, 1].
    """
    try:
        header = stack_header(path)
    except BlushError as error:
        return [problem for problem in error.problems if isinstance(problem, Problem)]
    problems: list[Problem] = []

    def report(message: str, remedy: str, value: str) -> None:
        problems.append(Problem(f"{role} {message}", remedy, str(path), "header", value))

    depth, height, width = header.shape
    if not depth == height == width:
        report("is not cubic", "pad or crop it to a cube", f"{width} x {height} x {depth}")
    elif width % 2:
        report("has an odd box", f"crop it to {width - 1}", f"{width} px")
    if not header.pixel_size_angst > 0:
        report("has no pixel size", "set it in the header", f"{header.pixel_size_angst:g} Å")
    elif like is not None and abs(header.pixel_size_angst / like.pixel_size_angst - 1) > PIXEL_TOLERANCE:
        remedy = f"resample it to {like.pixel_size_angst:g} Å"
        report("has another pixel size than the particles", remedy, f"{header.pixel_size_angst:g} Å")
    if like is not None and width != like.box_px:
        report("has another box than the particles", f"pad or crop it to {like.box_px} px", f"{width} px")
    return problems + _value_problems(path, role, is_mask)


def _value_problems(path: Path, role: str, is_mask: bool) -> list[Problem]:
    """Values must be finite and differ, and those of a mask lie in [0, 1]."""
    values = np.asarray(map_stack(path), dtype=np.float32)
    where = f"{role} values"
    n_bad = int(np.count_nonzero(~np.isfinite(values)))
    if n_bad:
        message = f"{role} has voxels that are not finite"
        return [Problem(message, "write the map again", str(path), where, f"{n_bad} voxels")]
    lowest, highest = float(values.min()), float(values.max())
    if lowest == highest:
        return [Problem(f"{role} is constant", "give a map with density", str(path), where, f"{lowest:g}")]
    if is_mask and (lowest < -_MASK_ROUNDING or highest > 1 + _MASK_ROUNDING):
        message = f"{role} is not in [0, 1]"
        return [Problem(message, "scale it to [0, 1]", str(path), where, f"{lowest:g} to {highest:g}")]
    return []
