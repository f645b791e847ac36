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
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from os.path import isfile
from pathlib import Path
from typing import Any, Literal

import numpy as np

from blush.errors import BlushError, Problem
from blush.io import seal
from blush.io.files import as_written, atomic_write, read_record, write_json
from blush.io.seal import DamagedFile, Owner

INDEX = "index.json"
_NO_RUN = "0" * 16
"""A store belongs to no run."""
Split = Literal["train", "test"]
CHANNELS = ("half1", "half2", "truth", "mask")


@dataclass(frozen=True)
class Entry:
    """One structure of a store.

    Attributes
    ----------
    channels
        Those of CHANNELS, in the order of the file.
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
        That of all maps.
    """

    folder: Path
    voxel_size_angst: float
    entries: tuple[Entry, ...]

    def select(self, split: Split, channel: str | None = None) -> tuple[Entry, ...]:
        """Entries of a split, of those that have a channel."""
        return tuple(e for e in self.entries if e.split == split and (channel is None or channel in e.channels))

    def maps(self, entry: Entry) -> dict[str, np.ndarray]:
        """(N, N, N) float16 of each channel, mapped into memory."""
        path = self.folder / entry.file
        with as_written(path, "prepare the maps again"):
            stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            if stored.shape != (len(entry.channels), *(entry.box_px,) * 3) or stored.dtype != np.float16:
                raise ValueError(f"{stored.shape} of {stored.dtype}")
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
    write_sealed(folder / INDEX, content)
    return Store(folder, voxel_size_angst, tuple(ordered))


def write_sealed(path: Path, content: Any) -> None:
    """Write the index or a note of a store under a seal, which whoever reads it checks."""
    with seal.sealed(path, Owner(_NO_RUN, path.name)) as beside:
        write_json(beside, content)


def verify_maps(store: Store, entries: Sequence[Entry]) -> None:
    """Read the maps of entries once and compare them with the index.

    Raises
    ------
    BlushError
        Naming every file that is not as it was written.
    """
    remedy = f"remove it and {INDEX}, and give the same command again, which makes these maps anew"
    problems = []
    for entry in entries:
        path = store.folder / entry.file
        try:
            found = hashlib.sha256(np.ascontiguousarray(np.load(path, mmap_mode="r")).data).hexdigest()
        except (OSError, ValueError, EOFError) as error:
            found = str(error)
        if found != entry.sha256:
            problems.append(Problem("was changed after it was written", remedy, str(path)))
    if problems:
        raise BlushError("the maps of this training cannot be used", problems)


def _unchanged(path: Path, remedy: str) -> Path:
    """The same path, once what its seal says of its content was found to be so."""
    if seal.is_sealed(path):
        try:
            seal.verify_content(path)
        except DamagedFile as damage:
            raise DamagedFile(path, damage.fault, remedy) from None
    return path


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
    remedy = "remove it, and give the same command again, which prepares the maps"
    content = read_record(_unchanged(path, remedy), remedy)
    with as_written(path, remedy):
        voxel_size_angst = content["voxel_size_angst"]
        if not _is_number(voxel_size_angst) or voxel_size_angst <= 0:
            raise ValueError(f"a voxel size of {voxel_size_angst}")
        entries = tuple(map(_entry, content["entries"]))
    lost = [Problem("names a file that does not exist", "prepare the maps again", str(path), ascii(e.name)[1:-1][:80],
                    ascii(e.file)[1:-1][:80]) for e in entries if not isfile(folder / e.file)]  # fmt: skip
    if lost:
        raise BlushError("cannot open the maps", lost)
    return Store(folder, voxel_size_angst, entries)


def noted_entry(note: Path, made_of: str) -> Entry | None:
    """The entry that a note describes, where it was made of the same maps and settings.

    Raises
    ------
    BlushError
        Where the note is damaged.
    """
    remedy = "remove it, and the same command makes these maps again"
    content = read_record(_unchanged(note, remedy), remedy)
    with as_written(note, remedy):
        return _entry(content["entry"]) if content["made_of"] == made_of else None


def _entry(content: Any) -> Entry:
    """One entry of an index.

    Raises
    ------
    ValueError, TypeError, KeyError
        Where it is none.
    """
    entry = Entry(**(content | {"channels": tuple(content["channels"])}))
    if not set(entry.channels) <= set(CHANNELS) or entry.split not in ("train", "test"):
        raise ValueError(f"an entry of channels {entry.channels} and split {entry.split}")
    texts = (entry.name, entry.file, entry.group, entry.source, entry.sha256)
    if not all(isinstance(text, str) for text in texts) or Path(entry.file).name != entry.file:
        raise ValueError(f"an entry of file {ascii(entry.file)[:60]}")
    resolution = 0 if entry.resolution_angst is None else entry.resolution_angst
    numbers = (entry.weight, resolution, entry.box_px)
    if not all(_is_number(value) for value in numbers) or not isinstance(entry.box_px, int) or entry.box_px < 1:
        raise ValueError(f"an entry of weight {entry.weight} and box {entry.box_px}")
    return entry


def _is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
