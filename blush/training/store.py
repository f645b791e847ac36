"""The prepared maps of a training: one float16 file per entry, mapped into memory, beside one index that lists them.

    STORE/index.json          voxel size, and per entry: name, file, channels, box, group, split, source, SHA-256
    STORE/NAME.npy            (channels, N, N, N) float16, C order

Channels are `half1` and `half2` (a pair), `truth`, and `mask` (always there). A pair of a published structure has
half1, half2, mask; simulated ones have truth and mask, and their halves are made while training; pairs from refinements
of simulated particles have all four. Halves are unfiltered. Every map of an entry is divided by one number, so that the
truth, or else the mean of the halves low-passed at the resolution, has the variance 1 inside the mask.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blush.errors import BlushError, Problem
from blush.io.files import atomic_write, read_json, write_json

INDEX = "index.json"
Split = Literal["train", "test"]
CHANNELS = ("half1", "half2", "truth", "mask")


@dataclass(frozen=True)
class Entry:
    """One structure of a store.

    Attributes
    ----------
    channels
        Of CHANNELS, in the order of the file.
    group
        Structures of one fold or sequence share it; a group is never split between training and test.
    split
        "train" or "test".
    source
        "emdb", "folder" or "simulated".
    resolution_angst
        Half-map FSC of 0.143 in the mask; None where halves are made while training.
    weight
        How often it is drawn beside others of its group: one over the order of the point group, so that an asymmetric
        unit counts once.
    """

    name: str
    file: str
    channels: tuple[str, ...]
    box_px: int
    group: str
    split: Split
    source: str
    sha256: str
    resolution_angst: float | None = None
    weight: float = 1.0


@dataclass(frozen=True)
class Store:
    """Entries of one folder.

    Attributes
    ----------
    voxel_size_angst
        Of all maps.
    """

    folder: Path
    voxel_size_angst: float
    entries: tuple[Entry, ...]

    def select(self, split: Split, channel: str | None = None) -> tuple[Entry, ...]:
        """Entries of a split, of those that have a channel."""
        return tuple(e for e in self.entries if e.split == split and (channel is None or channel in e.channels))

    def maps(self, entry: Entry) -> dict[str, np.ndarray]:
        """(N, N, N) float16 of each channel, mapped into memory."""
        stored = np.load(self.folder / entry.file, mmap_mode="r")
        return {channel: stored[i] for i, channel in enumerate(entry.channels)}


def add_entry(
    folder: Path,
    name: str,
    maps: Mapping[str, np.ndarray],
    *,
    group: str,
    split: Split,
    source: str,
    resolution_angst: float | None = None,
    weight: float = 1.0,
) -> Entry:
    """Write the maps of one entry, beside and renamed; equal maps give equal bytes.

    Parameters
    ----------
    maps
        (N, N, N) by channel; "mask" and either both halves or the truth have to be among them.
    """
    channels = tuple(channel for channel in CHANNELS if channel in maps)
    given = set(maps)
    if given - set(channels) or "mask" not in given or not ("truth" in given or {"half1", "half2"} <= given):
        raise ValueError(f"an entry has a mask, and a truth or both halves, not {sorted(maps)}")
    stacked = np.stack([np.asarray(maps[channel], dtype=np.float16) for channel in channels])
    if not np.isfinite(stacked).all():
        raise ValueError(f"{name} has values that float16 cannot hold")
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / f"{name}.npy") as beside, beside.open("wb") as stream:
        np.save(stream, stacked)
    sha256 = hashlib.sha256(stacked.tobytes()).hexdigest()
    file, box = f"{name}.npy", stacked.shape[1]
    return Entry(name, file, channels, box, group, split, source, sha256, resolution_angst, weight)


def write_index(folder: Path, voxel_size_angst: float, entries: Sequence[Entry]) -> Store:
    """Write the index, after which the store is complete.

    Raises
    ------
    BlushError
        Where a group is split between training and test, or a name occurs twice.
    """
    problems = leaks(entries)
    names = [e.name for e in entries]
    problems += [Problem("occurs twice", "drop one", where=n) for n in sorted({n for n in names if names.count(n) > 1})]
    if problems:
        raise BlushError("the maps of this training cannot be used", problems)
    ordered = sorted(entries, key=lambda e: e.name)
    content = {"voxel_size_angst": voxel_size_angst, "entries": [asdict(e) for e in ordered]}
    write_json(folder / INDEX, content)
    return Store(folder, voxel_size_angst, tuple(ordered))


def leaks(entries: Sequence[Entry]) -> list[Problem]:
    """Groups with entries on both sides of the split."""
    sides: dict[str, dict[str, str]] = {}
    for entry in entries:
        sides.setdefault(entry.group, {})[entry.split] = entry.name
    return [
        Problem(f"is trained on ({s['train']}) and tested on ({s['test']})", "put the group on one side", where=group)
        for group, s in sorted(sides.items())
        if len(s) > 1
    ]


def open_store(folder: Path) -> Store:
    """Read the index of a store.

    Raises
    ------
    BlushError
        Where it or a file of it is missing.
    """
    path = folder / INDEX
    if not path.is_file():
        raise BlushError("cannot open the maps", [Problem("file does not exist", "prepare the maps first", str(path))])
    content: dict[str, Any] = read_json(path)
    entries = tuple(Entry(**(e | {"channels": tuple(e["channels"])})) for e in content["entries"])
    lost = [Problem("file does not exist", "prepare the maps again", str(folder / e.file)) for e in entries
            if not (folder / e.file).is_file()]  # fmt: skip
    if lost:
        raise BlushError("cannot open the maps", lost)
    return Store(folder, content["voxel_size_angst"], entries)
