"""Particle tables without optics groups, as before RELION 3.1: every row repeats its optics."""

import re
from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import n_rows, numbers, row_problems
from blush.io.header import PIXEL_TOLERANCE
from blush.io.optics import NUMERIC_DEFAULTS, TEXT_DEFAULTS
from blush.io.particle_columns import subtomograms
from blush.io.star import Table

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_OWN_COLUMNS = ("rlnOpticsGroup", *_OPTICS_COLUMNS, "rlnImagePixelSize")
"""Columns of data_optics that are filled apart from the others."""
_OF_ITERATION = re.compile(r"_(model|sampling)\.star$")
_BLOCK = "data_particles"


def modernise(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> dict[str, Table]:
    """Give a table without optics groups a table `optics`, where its rows say enough.

    Returns
    -------
    The same blocks for RELION 3.1 and later; else `optics`, one group for each distinct optics of the rows, and
    `particles` with the old columns, but for those that moved to `optics`.
    """
    if "optics" in blocks and "particles" in blocks:
        return blocks
    candidates = [table for name, table in blocks.items() if name != "optics" and "rlnImageName" in table]
    names = ", ".join(f"data_{name}" for name in blocks)
    if "optics" in blocks or not candidates:
        problems.append(Problem("has no table of particles", _other_table(blocks, star), str(star), value=names))
        return {}
    if len(candidates) > 1:
        remedy = "give a file with one of them"
        problems.append(Problem("has several tables with images", remedy, str(star), value=names))
        return {}
    return _with_optics(candidates[0], star, problems)


def _other_table(blocks: dict[str, Table], star: Path) -> str:
    """What to give instead of a table without particles; RELION's optimiser names the one that it belongs to."""
    for table in blocks.values():
        if "rlnExperimentalDataStarFile" in table:
            return f"give the table that this one names, {table['rlnExperimentalDataStarFile'][0]}"
    beside = star.with_name(_OF_ITERATION.sub("_data.star", star.name))
    if beside != star and beside.is_file():
        return f"give the particle table of this iteration, {beside}"
    columns = {name for table in blocks.values() for name in table}
    if {"rlnCoordinateX", "rlnMicrographName"} & columns and "rlnImageName" not in columns:
        return "extract particles from these micrographs first, and give the table of that job, particles.star"
    if {"rlnJobTypeLabel", "rlnPipeLineJobCounter"} & columns:
        return "give the particle table of a job: particles.star of Extract and Select, run_data.star of Refine3D"
    return "give a particle STAR file with data_optics and data_particles"


def _with_optics(table: Table, star: Path, problems: list[Problem]) -> dict[str, Table]:
    """Build optics groups from the distinct optics of the rows."""
    if found := subtomograms(table, {}, star):
        problems += found
        return {}
    missing = [name for name in _OPTICS_COLUMNS if name not in table]
    before = len(problems)
    pixel_size = _pixel_size(table, star, problems)
    if pixel_size is None:
        missing.append("rlnImagePixelSize (or rlnMagnification and rlnDetectorPixelSize)")
    if missing:
        message = f"is a STAR file from before RELION 3.1 and lacks {', '.join(missing)}"
        usual = "; 0.1 is usual" if missing == ["rlnAmplitudeContrast"] else ""
        remedy = f"add each as a column, with its value in every row{usual}"
        problems.append(Problem(message, remedy, str(star), "data_optics is missing"))
    if missing or pixel_size is None:
        return {}
    moved = [name for name in (*NUMERIC_DEFAULTS, *TEXT_DEFAULTS) if name in table and name not in _OWN_COLUMNS]
    # groups of a table that was joined to its optics by hand stay apart
    named = [*_OPTICS_COLUMNS, *moved, *(["rlnOpticsGroup"] if "rlnOpticsGroup" in table else [])]
    columns = {
        name: table[name] if name in TEXT_DEFAULTS else numbers(table, name, 0, _BLOCK, star, problems)
        for name in named
    }
    columns["rlnImagePixelSize"] = pixel_size
    if len(problems) > before:
        return {}
    codes = [
        np.unique(column if column.dtype.kind == "f" else column.astype(str), return_inverse=True)[1].reshape(-1)
        for column in columns.values()
    ]
    _, first, index = np.unique(np.stack(codes), axis=1, return_index=True, return_inverse=True)
    numbering = np.arange(1, len(first) + 1)
    optics: Table = {
        "rlnOpticsGroup": numbering,
        "rlnOpticsGroupName": np.array([f"opticsGroup{number}" for number in numbering], dtype=object),
        **{name: column[first] for name, column in columns.items() if name != "rlnOpticsGroup"},
    }
    optics.setdefault("rlnImageDimensionality", np.full(len(first), 2))
    kept = {name: column for name, column in table.items() if name not in moved}
    return {"optics": optics, "particles": {**kept, "rlnOpticsGroup": index.reshape(-1) + 1}}


def _pixel_size(table: Table, star: Path, problems: list[Problem]) -> np.ndarray | None:
    """Pixel size of each row in Å; None where no column gives it."""
    stated = next((name for name in ("rlnImagePixelSize", "rlnPixelSize") if name in table), None)
    if stated is None:
        return _by_magnification(table, star, problems)
    pixel_size = numbers(table, stated, 0, _BLOCK, star, problems)
    other = _by_magnification(table, star, [])
    if other is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            bad = np.flatnonzero(np.isfinite(other) & (other > 0) & (abs(pixel_size / other - 1) > PIXEL_TOLERANCE))
        values = [f"{pixel_size[row]:g} Å instead of {other[row]:g} Å" for row in bad]
        message = f"{stated} is not the pixel size by rlnDetectorPixelSize and rlnMagnification"
        problems += row_problems(bad, values, message, "remove the wrong columns", star, _BLOCK)
    return pixel_size


def _by_magnification(table: Table, star: Path, problems: list[Problem]) -> np.ndarray | None:
    """Pixel size of the detector, in µm, over the magnification; None where either is missing."""
    if not n_rows(table) or not {"rlnMagnification", "rlnDetectorPixelSize"} <= table.keys():
        return None
    for name in ("rlnDetectorPixelSize", "rlnMagnification"):
        bad = np.flatnonzero(numbers(table, name, 0, _BLOCK, star, []) <= 0)
        problems += row_problems(bad, table[name][bad], f"{name} must be above 0", "correct it", star, _BLOCK)
    detector_um = numbers(table, "rlnDetectorPixelSize", 0, _BLOCK, star, problems)
    magnification = numbers(table, "rlnMagnification", 0, _BLOCK, star, problems)
    with np.errstate(divide="ignore", invalid="ignore"):
        return detector_um * 1e4 / magnification
