"""The columns of `data_particles` that are indices: image, stack, optics group, scale group and half."""

from os.path import realpath
from pathlib import Path

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.columns import n_rows, numbers, row_problems, row_ranges, shown
from blush.io.mrc import stack_header
from blush.io.optics import resolve
from blush.io.star import Table

BLOCK = "data_particles"
_LONGEST_NUMBER = 18
"""Digits that always fit int64."""
POSE_COLUMNS = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
REAL_COLUMNS = frozenset(
    f"rln{name}"
    for name in (
        *("DefocusU", "DefocusV", "DefocusAngle", "PhaseShift", "CtfBfactor", "CtfScalefactor", "NormCorrection"),
        *("AngleRot", "AngleTilt", "AnglePsi", "OriginX", "OriginY", "OriginXAngst", "OriginYAngst"),
        *("Voltage", "SphericalAberration", "AmplitudeContrast", "BeamTiltX", "BeamTiltY"),
        *("ImagePixelSize", "PixelSize", "DetectorPixelSize", "Magnification", "MicrographOriginalPixelSize"),
        *("MagMat00", "MagMat01", "MagMat10", "MagMat11"),
    )
)
"""Columns of a particle file that are computed with; every other one keeps its text."""


def optics_index(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> np.ndarray:
    """0-based optics group of each particle; group numbers need be neither contiguous nor sorted."""
    if any("rlnOpticsGroup" not in blocks[name] for name in ("optics", "particles")):
        return np.zeros(n_rows(blocks["particles"]), dtype=np.int32)  # the missing column is reported on its own
    known = numbers(blocks["optics"], "rlnOpticsGroup", 0, "data_optics", star, [])
    wanted = numbers(blocks["particles"], "rlnOpticsGroup", 0, BLOCK, star, problems)
    order = np.argsort(known, kind="stable")
    position = order[np.searchsorted(known[order], wanted).clip(max=len(known) - 1)]
    bad = np.flatnonzero(np.isfinite(wanted) & (known[position] != wanted))
    remedy = "add the group to data_optics or correct rlnOpticsGroup"
    problems += row_problems(bad, wanted[bad], "optics group is not in data_optics", remedy, star, BLOCK)
    return position.astype(np.int32)


def image_columns(table: Table, star: Path, problems: list[Problem]) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Stack and 0-based image of each particle, and the stacks' absolute paths in order of first use."""
    parts = [str(name).partition("@") for name in table["rlnImageName"]]
    image_index = np.array([_image_number(number) for number, _, _ in parts], dtype=np.int64) - 1
    bad = np.flatnonzero(image_index < 0)
    problems += row_problems(
        bad,
        table["rlnImageName"][bad],
        "rlnImageName does not start with an image number from 1 on",
        "write 000001@stack.mrcs, one row per image",
        star,
        BLOCK,
    )
    names = [name if at else number for number, at, name in parts]
    numbering = {name: index for index, name in enumerate(dict.fromkeys(names))}
    stack_index = np.array([numbering[name] for name in names], dtype=np.int32)
    order = np.argsort(stack_index, kind="stable")
    rows = np.split(order, np.flatnonzero(np.diff(stack_index[order])) + 1)
    stacks = tuple(_find_stack(name, rows[index], star, problems) for name, index in numbering.items())
    return stack_index, image_index, stacks


def _image_number(text: str) -> int:
    """Number before the `@`; 0 where it is none, or longer than any stack."""
    is_number = text.isdecimal() and text.isascii() and len(text) <= _LONGEST_NUMBER
    return int(text) if is_number else 0


def _find_stack(name: str, rows: np.ndarray, star: Path, problems: list[Problem]) -> str:
    """Absolute path of a stack, checked for a readable header and its full length."""
    path = resolve(name, star)
    if path is None:
        remedy = "restore the stack, or move the STAR file to its project's root"
        if star.is_symlink():
            remedy += f"; names were looked for from the link's folders and from those of {realpath(star)}"
        where = f"{BLOCK} row {row_ranges(rows)}"
        problems.append(Problem("stack file does not exist", remedy, str(star), where, shown(name)))
        return str(star.absolute().parent / name)
    try:
        stack_header(path)
    except BlushError as error:
        problems += [problem for problem in error.problems if isinstance(problem, Problem)]
    return str(path)


def group_index(table: Table, stack_index: np.ndarray) -> np.ndarray:
    """0-based group for scale correction: named groups, else micrographs, else stacks."""
    names = table.get("rlnGroupName", table.get("rlnMicrographName"))
    if names is None:
        return stack_index.copy()
    numbering = {name: index for index, name in enumerate(sorted({str(name) for name in names}))}
    return np.array([numbering[str(name)] for name in names], dtype=np.int32)


def halves(table: Table, star: Path, problems: list[Problem]) -> np.ndarray:
    """Half-set of each particle; 0 where the file has no such column."""
    if "rlnRandomSubset" not in table:
        return np.zeros(n_rows(table), dtype=np.int8)
    values = numbers(table, "rlnRandomSubset", 0, BLOCK, star, problems)
    bad = np.flatnonzero(np.isfinite(values) & (values != 1) & (values != 2))
    remedy = "assign every row to 1 or 2, or remove the column to have halves drawn"
    problems += row_problems(bad, table["rlnRandomSubset"][bad], "rlnRandomSubset is not 1 or 2", remedy, star, BLOCK)
    return np.nan_to_num(values).clip(0, 2).astype(np.int8)
