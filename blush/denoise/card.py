"""What a file of weights says about its network: its card, as text in the file's metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from blush.errors import BlushError, Problem

BLUSH, CREF, LOCAL_WIENER = "blush-unet3d", "cref-unet", "local-wiener"
ARCHITECTURES = (BLUSH, CREF, LOCAL_WIENER)
UNFILTERED, WHITENED = "unfiltered half-map", "whitened Wiener map"
"""Inputs of the Blush network."""
ANY_VOXEL_SIZE = "any"
WIDEST, DEEPEST, LARGEST_BLOCK_PX = 1024, 8, 1024
IMPORT_REMEDY = "weights of another program are converted by: blush import-weights FILE OUT.safetensors"


@dataclass(frozen=True)
class Card:
    """A network and what it was made for.

    Attributes
    ----------
    arch
        "blush-unet3d", "cref-unet" or "local-wiener".
    width, depth
        Channels on the full grid, and halvings of the grid.
    norm
        Kind of normalisation layer, or "none".
    voxel_size_angst
        That of the maps it was trained on; None where it takes maps as they are.
    block_px, stride_px
        Side of a patch, and the published step between patches; 0 where a map is passed as a whole.
    input_kind
        What maps it was trained on, in words. `WHITENED` means that the Blush network has to be given such maps.
    source, licence
        Where the numbers come from and how they may be used, in words.
    """

    arch: str
    width: int = 16
    depth: int = 5
    norm: str = "instance"
    voxel_size_angst: float | None = 1.5
    block_px: int = 64
    stride_px: int = 20
    input_kind: str = UNFILTERED
    source: str = ""
    licence: str = ""

    def to_metadata(self) -> dict[str, str]:
        """Every attribute as text."""
        texts = {name: str(value) for name, value in asdict(self).items()}
        return texts | ({"voxel_size_angst": ANY_VOXEL_SIZE} if self.voxel_size_angst is None else {})

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], file: Path | str) -> Card:
        """Read a card back.

        Raises
        ------
        BlushError
            Listing every entry that is missing or senseless.
        """
        problems: list[Problem] = []
        found: dict[str, str | int | float | None] = {}
        for name in (field.name for field in fields(cls)):
            if name not in metadata:
                problems.append(Problem("entry of the metadata is missing", IMPORT_REMEDY, str(file), name))
                continue
            try:
                found[name] = _value(name, metadata[name])
            except ValueError as error:
                remedy = "get the file again, or import the weights again"
                problems.append(Problem(str(error), remedy, str(file), name, metadata[name][:200]))
        if problems:
            raise BlushError("cannot use these weights", problems)
        return cls(**found)  # type: ignore[arg-type]  # each was made by _value of its name


def _value(name: str, text: str) -> str | int | float | None:
    """An entry in its own type.

    Raises
    ------
    ValueError
        Saying what it should be.
    """
    limits = {
        "width": (1, WIDEST),
        "depth": (1, DEEPEST),
        "block_px": (0, LARGEST_BLOCK_PX),
        "stride_px": (0, LARGEST_BLOCK_PX),
    }
    if name in limits:
        low, high = limits[name]
        if not (text.isascii() and text.isdecimal()) or len(text) > 9 or not low <= int(text) <= high:
            raise ValueError(f"is not a whole number from {low} to {high}")
        return int(text)
    if name == "voxel_size_angst":
        if text == ANY_VOXEL_SIZE:
            return None
        if not 0.1 <= _number(text) <= 100:
            raise ValueError(f"is neither {ANY_VOXEL_SIZE!r} nor a voxel size of 0.1 to 100 Å")
        return float(text)
    return text


def _number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else float("nan")
    except ValueError:
        return float("nan")
