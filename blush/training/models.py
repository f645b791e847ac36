"""Atomic models to train on: a packed file of many, or the table and the arrays it is made of.

A pack (.npz) holds heavy atoms at steps of 0.02 Å from each model's centre, with element, B-factor to 2 Å² and
occupancy to 1/200, and the table of models as JSON. Coordinates are those of the wwPDB (CC0).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, load_npz, parse_json, save_npz
from blush.simulate.atoms import Atoms
from blush.training.store import Split

STEP_ANGST, STEP_ANGST2, STEP_OCCUPANCY = 0.02, 2.0, 0.005
SPLITS = ("train", "test")


@dataclass(frozen=True)
class ModelRow:
    """One model.

    Attributes
    ----------
    name
        wwPDB code, in small letters.
    kind
        soluble, soluble-complex, membrane, nucleic, protein-nucleic...
    group
        Models of similar sequence share it; a group is on one side of the split.
    reason
        Why it is held out; empty for those that are trained on.
    url, sha256
        Where the model is published, and the hash of the file that was packed.
    """

    name: str
    kind: str
    mass_kda: float
    n_atoms: int
    diameter_angst: float
    assembly: str
    group: str
    split: Split
    reason: str
    url: str
    sha256: str


@dataclass(frozen=True)
class Model:
    """A row and its atoms, centred."""

    row: ModelRow
    atoms: Atoms


def write_pack(path: Path, models: Sequence[Model]) -> None:
    """Write models, ordered by name; equal models give equal bytes."""
    ordered = sorted(models, key=lambda model: model.row.name)
    atoms = [model.atoms for model in ordered]
    position = np.concatenate([np.round(a.position_angst.numpy() / STEP_ANGST) for a in atoms]).astype(np.int16)
    save_npz(
        path,
        {
            "table": np.array(json.dumps([asdict(model.row) for model in ordered])),
            # Neighbours in the file are neighbours in space: differences are small, and compress.
            "steps": np.diff(position, axis=0, prepend=np.zeros((1, 3), np.int16)).T.copy(),
            "element": np.concatenate([a.element.numpy() for a in atoms]).astype(np.uint8),
            "bfactor": _levels([a.bfactor_angst2.numpy() for a in atoms], STEP_ANGST2),
            "occupancy": _levels([a.occupancy.numpy() for a in atoms], STEP_OCCUPANCY),
        },
        compressed=True,
    )


def _levels(parts: Sequence[np.ndarray], step: float) -> np.ndarray:
    """Whole numbers of steps that fit a byte."""
    return np.clip(np.round(np.concatenate(parts) / step), 0, 255).astype(np.uint8)


def read_models(path: Path) -> list[Model]:
    """Read a pack.

    Raises
    ------
    BlushError
        Where it is missing, is no pack, or puts a group on both sides.
    """
    remedy = "correct the path, or make one with scripts/pack_models.py"
    if (problem := unreadable(path, remedy)) is not None:
        raise BlushError("cannot read the models", [problem])
    content = load_npz(path, remedy)
    try:
        rows = [ModelRow(**row) for row in parse_json(str(content["table"]))]
        position = np.cumsum(content["steps"].astype(np.int32), axis=1).T * STEP_ANGST
        columns: list[Any] = [content["element"], content["bfactor"], content["occupancy"]]
        n_atoms = sum(row.n_atoms for row in rows)
        if any(row.n_atoms < 1 for row in rows) or {len(position), *map(len, columns)} != {n_atoms}:
            raise ValueError(f"its table has {n_atoms} atoms, and its columns {len(position)}")
    except (ValueError, KeyError, TypeError, IndexError) as error:
        problem = Problem(f"is not a pack of models: {error}", "make one with scripts/pack_models.py", str(path))
        raise BlushError("cannot read the models", [problem]) from None
    problems = _split_groups(rows, path)
    if problems:
        raise BlushError("the models cannot be used", problems)
    ends = np.cumsum([row.n_atoms for row in rows])
    models = []
    for row, last in zip(rows, ends, strict=True):
        part = slice(last - row.n_atoms, last)
        element, bfactor, occupancy = (torch.from_numpy(column[part].astype(np.int64)) for column in columns)
        atoms = Atoms(
            element,
            torch.from_numpy(position[part]),
            occupancy.double() * STEP_OCCUPANCY,
            bfactor.double() * STEP_ANGST2,
        )
        models.append(Model(row, atoms))
    return models


def _split_groups(rows: Sequence[ModelRow], path: Path) -> list[Problem]:
    """Groups of which some models are trained on and some held out."""
    sides: dict[str, set[str]] = {}
    for row in rows:
        sides.setdefault(row.group, set()).add(row.split)
    return [
        Problem("is on both sides of the split", "give all its models one split", str(path), group)
        for group, found in sorted(sides.items())
        if len(found) > 1 or not found <= set(SPLITS)
    ]


def write_table(path: Path, rows: Sequence[ModelRow]) -> None:
    """The table of a pack, to be read by people."""
    names = list(asdict(rows[0]))
    lines = ["\t".join(names)]
    lines += ["\t".join(str(asdict(row)[name]) for name in names) for row in sorted(rows, key=lambda row: row.name)]
    with atomic_write(path) as beside:
        beside.write_text("\n".join(lines) + "\n")
