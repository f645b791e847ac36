"""What RELION's tables of a refinement say that its particle table does not: maps, scales, averages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from blush.errors import BlushError, Problem
from blush.io.columns import numbers
from blush.io.optics import resolve
from blush.io.particle_columns import BLOCK
from blush.io.star import Table, read_star

_TITLE = "cannot read the tables of the refinement"
_REMEDY = "give back the tables as the refinement wrote them"
_MODELS = ("rlnModelStarFile", "rlnModelStarFile2")


@dataclass(frozen=True)
class HalfModel:
    """The model of one half-set, or of all images.

    Attributes
    ----------
    maps
        One per class.
    scale
        Factor of each scale group, by its number.
    norm_average
        Average norm correction.
    """

    maps: tuple[Path, ...]
    scale: dict[int, float]
    norm_average: float


@dataclass(frozen=True)
class Models:
    """The tables that an optimiser names: particles, and one model or two."""

    data: Path
    halves: tuple[HalfModel, ...]
    files: tuple[Path, ...]


def is_optimiser(star: Path) -> bool:
    """Whether a STAR file is an `_optimiser.star`."""
    return star.name.endswith("_optimiser.star")


def read_models(star: Path) -> Models:
    """Read an `_optimiser.star` and the models that it names.

    Raises
    ------
    BlushError
        Where one of them is missing or lacks something.
    """
    general = _block(star, "optimiser_general")
    present = [name for name in _MODELS if name in general]
    files = [_path(star, general, name) for name in (_MODELS[0], *present[1:])]
    data = _path(star, general, "rlnExperimentalDataStarFile")
    return Models(data, tuple(_half_model(path) for path in files), (star, *files, data))


def _half_model(star: Path) -> HalfModel:
    classes, groups = _block(star, "model_classes"), _block(star, "model_groups")
    general = _block(star, "model_general")
    maps = tuple(_path(star, classes, "rlnReferenceImage", row) for row in range(len(next(iter(classes.values())))))
    number = _column(groups, "rlnGroupNumber", "model_groups", star)
    scale = _column(groups, "rlnGroupScaleCorrection", "model_groups", star)
    average = float(_column(general, "rlnNormCorrectionAverage", "model_general", star)[0])
    if not average > 0 or not (scale > 0).all():
        message = "averages of norm corrections and scales must be above 0"
        raise BlushError(_TITLE, [Problem(message, _REMEDY, str(star))])
    return HalfModel(maps, dict(zip(number.astype(int).tolist(), scale.tolist(), strict=True)), average)


def factors(
    models: Models, table: Table, half_index: NDArray[np.int64], norm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n,) group scale times norm correction over the average one.

    Parameters
    ----------
    half_index
        (n,) position of each image's model.

    Raises
    ------
    BlushError
        Where a row's group is in no model.
    """
    problems: list[Problem] = []
    if "rlnGroupNumber" not in table:
        problems.append(Problem("column is missing", _REMEDY, str(models.data), f"{BLOCK}, rlnGroupNumber"))
    group = numbers(table, "rlnGroupNumber", 0.0, BLOCK, models.data, problems)
    factor = np.ones(len(norm))
    for index, model in enumerate(models.halves):
        rows = half_index == index
        known, inverse = np.unique(group[rows], return_inverse=True)
        missing = [f"{number:g}" for number in known if number not in model.scale]
        if missing and not problems:
            where, value = f"{BLOCK}, rlnGroupNumber", ", ".join(missing[:10])
            problems.append(Problem("groups without a scale in the model", _REMEDY, str(models.data), where, value))
        scales = np.array([model.scale.get(int(number), 1.0) for number in np.nan_to_num(known)])
        factor[rows] = scales[inverse] * norm[rows] / model.norm_average
    if problems:
        raise BlushError(_TITLE, problems)
    return factor


def _block(star: Path, name: str) -> Table:
    """A block that has rows."""
    block = read_star(star).get(name, {})
    if not block or not len(next(iter(block.values()))):
        raise BlushError(_TITLE, [Problem(f"has no rows in data_{name}", _REMEDY, str(star))])
    return block


def _column(table: Table, name: str, block: str, star: Path) -> NDArray[np.float64]:
    """A column of numbers."""
    problems: list[Problem] = []
    if name not in table:
        problems.append(Problem("column is missing", _REMEDY, str(star), f"data_{block}, {name}"))
    values = numbers(table, name, 0.0, f"data_{block}", star, problems)
    if problems:
        raise BlushError(_TITLE, problems)
    return values


def _path(star: Path, table: Table, name: str, row: int = 0) -> Path:
    """The file that a column names, relative to the project that the table lies in."""
    if name not in table:
        raise BlushError(_TITLE, [Problem(f"does not say {name}", _REMEDY, str(star))])
    text = str(table[name][row])
    found = resolve(text.rpartition("@")[2], star)
    if found is None:
        remedy = "restore it, or move the tables back to their project"
        raise BlushError(
            _TITLE, [Problem(f"file that it names as {name} does not exist", remedy, str(star), value=text)]
        )
    return found
