"""Pairs of half-maps, whether they were fetched or are on disk: what is known of each, and its maps."""

from __future__ import annotations

from dataclasses import dataclass
from os.path import isfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blush.config.training import TrainingConfig
from blush.emdb.manifest import read_manifest
from blush.errors import BlushError, Problem
from blush.io.mrc import read_volume
from blush.io.tsv import finite, read_tsv

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
        With every missing column and file, and everything that is no number where one should be.
    """
    pairs, problems = [], []
    for number, row in read_tsv(path, TITLE, "correct sources.folder.pairs", NEEDED, NEEDED + OPTIONAL):
        line = f"line {number}"
        files = {key: path.parent / row[key] for key in ("half1", "half2", "mask", "truth") if row.get(key)}
        faults = [Problem("file does not exist", "correct the path", str(path), f"{line}, {key}", str(file)[:200])
                  for key, file in files.items() if not isfile(file)]  # fmt: skip
        if lacking := [key for key in NEEDED if not row[key]]:
            faults.append(Problem(f"lacks {', '.join(lacking)}", "fill it in", str(path), line))
        if Path(row["name"]).name != row["name"] or row["name"].startswith(".") or len(row["name"]) > 200:
            remedy = "give it a name that a file can have"
            faults.append(Problem("is no name", remedy, str(path), f"{line}, name", row["name"][:80]))
        numbers: dict[str, float | None] = {}
        for key in ("contour", "resolution_angst"):
            try:
                numbers[key] = _number(row.get(key))
            except ValueError:
                where, value = f"{line}, {key}", row[key][:80]
                faults.append(
                    Problem("is not a finite number", "correct it, or leave it empty", str(path), where, value)
                )
        problems += faults
        if faults:
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
                contour=numbers["contour"],
                resolution_angst=numbers["resolution_angst"],
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
    """A finite number, or None where there is none; raises ValueError where it is something else."""
    if not text:
        return None
    number = finite(text)
    if number is None:
        raise ValueError(f"{text} is not a finite number")
    return number
