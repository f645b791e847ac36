"""Kept pairs of half-maps as entries of a store: one voxel size, a box around the particle, a side of the split."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from blush.config.training import TrainingConfig
from blush.emdb.files import sha256_of
from blush.errors import BlushError, Problem
from blush.fourier.filter import low_pass, resize_volume
from blush.geometry.symmetry import operators
from blush.io.tsv import read_tsv
from blush.training.curate import COLUMNS, particle_mask
from blush.training.models import read_models
from blush.training.pairs import Pair, read_maps
from blush.training.store import Entry, Split, add_entry, noted_entry, write_sealed

MARGIN_PX = 16
"""Voxels of solvent that are kept around the mask."""
SMALLEST_BOX_PX = 48
Tell = Callable[[str], None]


def prepare_pairs(config: TrainingConfig, curated: Path, out: Path, tell: Tell) -> list[Entry]:
    """Prepare every kept pair; one whose files have not changed is not made again.

    Returns
    -------
    Entries, to be listed in the index of the store.

    Raises
    ------
    BlushError
        Where a pair would be on both sides of the split.
    """
    rows = kept_rows(curated)
    sides = split_of(config, rows)
    begun, entries = time.monotonic(), []
    for number, row in enumerate(rows, start=1):
        entries.append(_entry(config, row, sides[row["group"]], out))
        left = (time.monotonic() - begun) / number * (len(rows) - number)
        tell(f"{row['name']} ({number} of {len(rows)}): {entries[-1].split}, {left / 60:.0f} min left")
    return entries


def kept_rows(curated: Path) -> list[dict[str, str]]:
    """Rows of the curated table that are kept."""
    rows = read_tsv(curated, "cannot prepare maps", "curate first", COLUMNS)
    return [row for _, row in rows if row["verdict"] == "keep"]


def split_of(config: TrainingConfig, rows: Sequence[dict[str, str]]) -> dict[str, Split]:
    """Side of each group: held out as the tables of models and of `held_out` say, or drawn until the share is reached.

    Groups are drawn in the order of a hash of their names, so that more pairs do not move those that were there.
    """
    held, trained = _known_sides(config)
    groups = sorted({row["group"] for row in rows})
    names: dict[str, set[str]] = {}
    for row in rows:
        names.setdefault(row["group"], set()).add(row["name"])
    problems = [
        Problem("is held out, and of a group that is trained on", "hold the group out", where=f"{name} of {group}")
        for group in groups
        for name in sorted(names[group] & held)
        if group in trained
    ]
    if problems:
        raise BlushError("the maps cannot be split", problems)
    sides: dict[str, Split] = {}
    for group in groups:
        if group in held or names[group] & held:
            sides[group] = "test"
        elif group in trained:
            sides[group] = "train"
    free = [group for group in groups if group not in sides]
    free.sort(key=lambda group: hashlib.sha256(f"{config.seed} {group}".encode()).hexdigest())
    wanted = math.ceil(config.evaluate.share * len(free)) if len(free) > 1 else 0
    return sides | {group: "test" if place < wanted else "train" for place, group in enumerate(free)}


def _known_sides(config: TrainingConfig) -> tuple[set[str], set[str]]:
    """Names and groups that are held out, and groups that are trained on."""
    held: set[str] = set()
    trained: set[str] = set()
    if config.sources.simulated.models is not None:
        for model in read_models(config.sources.simulated.models):
            (held if model.row.split == "test" else trained).add(model.row.group)
    if config.held_out is not None:
        title = "what is held out cannot be read"
        for _, row in read_tsv(config.held_out, title, "correct held_out", ("name",)):
            held |= {row["name"], row.get("group") or row["name"]}
    return held, trained - held


def _entry(config: TrainingConfig, row: dict[str, str], split: Split, out: Path) -> Entry:
    """Entry of a row: taken up where it was made of the same files with the same settings."""
    pair = _pair(row)
    note = out / f"{pair.name}.json"
    files = [path for path in (pair.half1, pair.half2, pair.mask, pair.truth) if path is not None]
    content = {
        "files": [sha256_of(path) for path in files],
        "row": {key: row[key] for key in ("group", "symmetry", "contour", "resolution_found_angst")},
        "voxel_size_angst": config.network.voxel_size_angst,
        "split": split,
    }
    mark = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    if note.exists():
        entry = noted_entry(note, mark)
        if entry is not None and (out / entry.file).exists():
            return entry
    maps = prepared(pair, config.network.voxel_size_angst, float(row["resolution_found_angst"]))
    resolution = float(row["resolution_found_angst"])
    entry = add_entry(
        out,
        pair.name,
        {name: values.numpy() for name, values in maps.items()},
        group=row["group"],
        split=split,
        source=pair.source,
        resolution_angst=resolution,
        weight=1 / len(operators(pair.symmetry)) if _is_group(pair.symmetry) else 1.0,
    )
    write_sealed(note, {"made_of": mark, "entry": asdict(entry)})
    return entry


def prepared(pair: Pair, voxel_size_angst: float, resolution_angst: float) -> dict[str, Tensor]:
    """Maps of a pair at a voxel size, in a box around the particle, by channel.

    They are divided by the deviation, inside the mask, of the truth or of the mean low-passed at the resolution.
    """
    maps = read_maps(pair)
    mask = particle_mask(pair, maps)
    box = len(mask)
    pixel = maps.pixel_size_angst
    target = 2 * math.ceil(box * pixel / voxel_size_angst / 2 - 1e-4)

    def moved(values: Tensor) -> Tensor:
        return resize_volume(values, pixel, target, voxel_size_angst)

    made = {"half1": moved(maps.half1), "half2": moved(maps.half2), "mask": moved(mask).clamp(0, 1)}
    if maps.truth is not None:
        made["truth"] = moved(maps.truth)
    inside = made["mask"] > 0.5
    if not inside.any():
        problem = Problem("lies outside of the particle", "give another mask or contour", str(pair.half1))
        raise BlushError("cannot prepare maps", [problem])
    mean = (made["half1"] + made["half2"]) / 2
    finest = 2.05 * voxel_size_angst
    signal = made.get("truth", low_pass(mean, max(resolution_angst, finest), voxel_size_angst))
    level = float(signal[inside].std())
    part = _around(made["mask"])
    scaled = {name: values if name == "mask" else values / level for name, values in made.items()}
    return {name: _cut(values, part) for name, values in scaled.items()}


def _around(mask: Tensor) -> int:
    """Side of the centred box that holds a mask and a margin: even, at least 48 voxels, at most the box."""
    where = torch.nonzero(mask > 0.02) - mask.shape[-1] // 2
    reach = int(where.abs().max()) + MARGIN_PX
    return min(mask.shape[-1], max(SMALLEST_BOX_PX, 2 * reach))


def _cut(volume: Tensor, box: int) -> Tensor:
    """Central part of a map; zeros where it is smaller than the smallest box."""
    first = volume.shape[-1] // 2 - box // 2
    part = slice(first, first + box)
    return volume[part, part, part].contiguous()


def _pair(row: dict[str, str]) -> Pair:
    """Files of a row of the curated table."""
    return Pair(
        name=row["name"],
        half1=Path(row["half1"]),
        half2=Path(row["half2"]),
        source=row["source"],
        mask=Path(row["mask"]) if row["mask"] else None,
        truth=Path(row["truth"]) if row["truth"] else None,
        group=row["group"],
        symmetry=row["symmetry"],
        contour=float(row["contour"]) if row["contour"] else None,
    )


def _is_group(symmetry: str) -> bool:
    """Whether a point group is one that can be read; EMDB has others, as helical ones."""
    try:
        operators(symmetry)
    except ValueError:
        return False
    return True
