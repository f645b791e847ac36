"""Particle tables from before RELION 3.1, which repeat the optics in every row."""

from pathlib import Path

import numpy as np

from blush.errors import Problem
from blush.io.columns import n_rows, numbers, row_problems
from blush.io.star import Table

_OPTICS_COLUMNS = ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")
_OPTIONAL_COLUMNS = ("rlnBeamTiltX", "rlnBeamTiltY")
_REMEDY = "convert with `relion_convert_star --i old.star --o new.star`, or add the columns"


def modernise(blocks: dict[str, Table], star: Path, problems: list[Problem]) -> dict[str, Table]:
    """Give a table without optics groups a table `optics`, where its rows say enough.

    Returns
    -------
    The same blocks for RELION 3.1 and later; else `optics` and `particles`, old columns kept.
    """
    if "optics" in blocks and "particles" in blocks:
        return blocks
    candidates = [table for name, table in blocks.items() if name != "optics" and "rlnImageName" in table]
    if "optics" in blocks or not candidates:
        remedy = "give a particle STAR file with data_optics and data_particles"
        names = ", ".join(f"data_{name}" for name in blocks)
        problems.append(Problem("has no table of particles", remedy, str(star), value=names))
        return {}
    return _with_optics(candidates[0], star, problems)


def _with_optics(table: Table, star: Path, problems: list[Problem]) -> dict[str, Table]:
    """Build optics groups from the distinct optics of the rows."""
    missing = [name for name in _OPTICS_COLUMNS if name not in table]
    before = len(problems)
    pixel_size = _pixel_size(table, star, problems)
    if pixel_size is None:
        missing.append("rlnImagePixelSize (or rlnMagnification and rlnDetectorPixelSize)")
    if missing:
        message = f"is a STAR file from before RELION 3.1 and lacks {', '.join(missing)}"
        problems.append(Problem(message, _REMEDY, str(star), "data_optics is missing"))
    if missing or pixel_size is None or len(problems) > before:
        return {}
    named = (*_OPTICS_COLUMNS, *(name for name in _OPTIONAL_COLUMNS if name in table))
    columns = [numbers(table, name, 0, "data_particles", star, problems) for name in named]
    groups, index = np.unique(np.stack([*columns, pixel_size], axis=1), axis=0, return_inverse=True)
    numbering = np.arange(1, len(groups) + 1)
    optics: Table = {
        "rlnOpticsGroup": numbering,
        "rlnOpticsGroupName": np.array([f"opticsGroup{number}" for number in numbering], dtype=object),
        **{name: groups[:, position] for position, name in enumerate(named)},
        "rlnImagePixelSize": groups[:, -1],
        "rlnImageDimensionality": np.full(len(groups), 2),
    }
    table = {name: column for name, column in table.items() if name not in _OPTIONAL_COLUMNS}
    return {"optics": optics, "particles": {**table, "rlnOpticsGroup": index.reshape(-1) + 1}}


def _pixel_size(table: Table, star: Path, problems: list[Problem]) -> np.ndarray | None:
    """Pixel size of each row in Å; None where no column gives it."""
    block = "data_particles"
    for name in ("rlnImagePixelSize", "rlnPixelSize"):
        if name in table:
            return numbers(table, name, 0, block, star, problems)
    if not n_rows(table) or not {"rlnMagnification", "rlnDetectorPixelSize"} <= table.keys():
        return None
    for name in ("rlnDetectorPixelSize", "rlnMagnification"):
        bad = np.flatnonzero(numbers(table, name, 0, block, star, []) <= 0)
        problems += row_problems(bad, table[name][bad], f"{name} must be above 0", "correct it", star, block)
    detector_um = numbers(table, "rlnDetectorPixelSize", 0, block, star, problems)
    magnification = numbers(table, "rlnMagnification", 0, block, star, problems)
    with np.errstate(divide="ignore", invalid="ignore"):
        return detector_um * 1e4 / magnification
