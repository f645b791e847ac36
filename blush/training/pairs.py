"""Pairs of half-maps, whether they were fetched or are on disk: what is known of each, and its maps."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.config.input_file import read_text
from blush.config.training import TrainingConfig
from blush.emdb.manifest import read_manifest
from blush.errors import BlushError, Problem
from blush.io.mrc import read_volume

TITLE = "the half-maps cannot be used"
NEEDED = ("name", "half1", "half2")
OPTIONAL = ("mask", "truth", "group", "symmetry", "contour", "resolution_angst", "sequence")


@dataclass(frozen=True)
class Pair:
    """One structure.

    Attributes
    ----------
    source
        "emdb" or "folder".
    group
        Structures of one group count as one.
    resolution_angst
        As deposited; None where unknown.
    reason
        Why it is out before it is looked at; empty where it is not.
    """

    name: str
    half1: Path
    half2: Path
    source: str
    mask: Path | None = None
    truth: Path | None = None
    group: str = ""
    symmetry: str = "C1"
    contour: float | None = None
    resolution_angst: float | None = None
    sequence: str = ""
    reason: str = ""


@dataclass(frozen=True)
class PairMaps:
    """Maps of a pair, (N, N, N) float32, axes z, y, x."""

    half1: Tensor
    half2: Tensor
    mask: Tensor | None
    truth: Tensor | None
    pixel_size_angst: float


def all_pairs(config: TrainingConfig, manifest: Path | None) -> list[Pair]:
    """Pairs of every source, by name.

    Raises
    ------
    BlushError
        With every mistake of the table of pairs; or where a name occurs twice.
    """
    pairs = _fetched(manifest) if manifest else []
    if config.sources.folder.pairs:
        pairs += read_table(config.sources.folder.pairs)
    names = [pair.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BlushError(TITLE, [Problem("occurs twice", "give it another name", where=name) for name in twice])
    return sorted(pairs, key=lambda pair: pair.name)


def _fetched(manifest: Path) -> list[Pair]:
    """Rows of a manifest."""
    folder = manifest.parent
    return [
        Pair(
            name=row.entry,
            half1=folder / row.half1,
            half2=folder / row.half2,
            source="emdb",
            mask=folder / row.mask if row.mask else None,
            group=row.group,
            symmetry=row.symmetry,
            contour=_number(row.contour),
            resolution_angst=_number(row.resolution_angst),
            reason=row.reason,
        )
        for row in read_manifest(manifest)
    ]


def read_table(path: Path) -> list[Pair]:
    """Read a table of pairs; its paths start at its folder.

    Raises
    ------
    BlushError
        With every missing column and file.
    """
    with StringIO(read_text(path, TITLE, "correct sources.folder.pairs")) as stream:
        reader = csv.DictReader(stream, dialect="excel-tab")
        columns = tuple(reader.fieldnames or ())
        wrong = [Problem("column is missing", f"add it; tab-separated: {' '.join(NEEDED)}", str(path), name)
                 for name in NEEDED if name not in columns]  # fmt: skip
        wrong += [Problem("is not a known column", f"known are {' '.join(NEEDED + OPTIONAL)}", str(path), name)
                  for name in columns if name not in NEEDED + OPTIONAL]  # fmt: skip
        if wrong:
            raise BlushError(TITLE, wrong)
        rows = list(reader)
    pairs, problems = [], []
    for number, row in enumerate(rows, start=2):
        files = {key: path.parent / row[key] for key in ("half1", "half2", "mask", "truth") if row.get(key)}
        problems += [Problem("file does not exist", "correct the path", str(path), f"row {number}, {key}", str(file))
                     for key, file in files.items() if not file.is_file()]  # fmt: skip
        lacking = [key for key in NEEDED if not row.get(key)]
        if lacking:
            problems.append(Problem(f"lacks {', '.join(lacking)}", "fill it in", str(path), f"row {number}"))
            continue
        pairs.append(
            Pair(
                name=row["name"],
                half1=files["half1"],
                half2=files["half2"],
                source="folder",
                mask=files.get("mask"),
                truth=files.get("truth"),
                group=row.get("group") or row["name"],
                symmetry=row.get("symmetry") or "C1",
                contour=_number(row.get("contour")),
                resolution_angst=_number(row.get("resolution_angst")),
                sequence=row.get("sequence") or "",
            )
        )
    if problems:
        raise BlushError(TITLE, problems)
    return pairs


def read_map(path: Path) -> tuple[np.ndarray, float]:
    """A cubic map as float32 in the order z, y, x, and its pixel size in Å; plain or packed.

    Raises
    ------
    BlushError
        Where it is unreadable, not cubic, or holds values that are not finite.
    """
    array, pixel = read_volume(path)
    if len(set(array.shape)) != 1:
        raise BlushError(TITLE, [Problem("is not a cubic map", "pad it", str(path), value=str(array.shape))])
    return array, pixel


def read_maps(pair: Pair) -> PairMaps:
    """Read the maps of a pair.

    Raises
    ------
    BlushError
        Where they cannot be read, or do not belong together.
    """
    half1, pixel = read_map(pair.half1)
    others = {"half2": pair.half2, "mask": pair.mask, "truth": pair.truth}
    found: dict[str, Tensor] = {}
    problems = []
    if not pixel > 0:
        problems.append(Problem("has no pixel size", "write it into the header", str(pair.half1)))
    for name, path in others.items():
        if path is None:
            continue
        array, other = read_map(path)
        if array.shape != half1.shape or abs(other - pixel) > 1e-3 * pixel:
            text = f"{array.shape[0]} px of {other:.4g} Å"
            remedy = f"it should have {half1.shape[0]} px of {pixel:.4g} Å, as half 1"
            problems.append(Problem("does not fit half 1", remedy, str(path), value=text))
        found[name] = torch.from_numpy(array)
    if problems:
        raise BlushError(TITLE, problems)
    return PairMaps(torch.from_numpy(half1), found["half2"], found.get("mask"), found.get("truth"), pixel)


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None
