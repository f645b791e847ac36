"""Two half-maps, and a mask, that belong together: the same checks for every command that takes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem, problems_of
from blush.io.header import Header
from blush.io.mrc import SAME_PIXEL, Placement, map_header, read_map
from blush.io.noted import check_own

SAME_MAP = 1e-7
"""Halves whose 1 - r^2 is less are one map, perhaps scaled: rounding to float16 leaves about 1e-8, noise far more."""
_REMEDY = "give two halves of one refinement"
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class MapFiles:
    """Two half-maps and a mask, read and checked.

    Attributes
    ----------
    halves
        (N, N, N) float32, unfiltered.
    mask
        (N, N, N) float32 in [0, 1], or None.
    placement
        That of the first half, for what is made of them.
    """

    halves: tuple[Tensor, Tensor]
    pixel_size_angst: float
    mask: Tensor | None
    placement: Placement

    def to(self, device: str) -> MapFiles:
        """The same on another device.

        Raises
        ------
        BlushError
            If there is no such device.
        """
        try:
            first, second = (half.to(device) for half in self.halves)
            mask = None if self.mask is None else self.mask.to(device)
        except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
            reason = str(error).partition("\n")[0]
            raise BlushError("the device cannot be used", [Problem(reason, "choose cpu", value=device)]) from None
        return replace(self, halves=(first, second), mask=mask)


def read_half_maps(
    half1: Path,
    half2: Path,
    mask: Path | None = None,
    pixel_size_angst: float | None = None,
    *,
    independent: bool = True,
    even: bool = True,
) -> MapFiles:
    """Read two half-maps, and a mask, that belong together.

    Parameters
    ----------
    pixel_size_angst
        Instead of the headers', all of them.
    independent
        Whether the second must be another map than the first; a map may be compared with itself as the truth.
    even
        Whether odd boxes are refused.

    Raises
    ------
    BlushError
        With everything that is wrong with a file, or does not fit together.
    """
    if pixel_size_angst is not None and not 0 < pixel_size_angst < math.inf:
        remedy = "give it in Å"
        problem = Problem("is no pixel size", remedy, where="--pixel-size", value=f"{pixel_size_angst:g}")
        raise BlushError("the half-maps cannot be used", [problem])
    paths = [half1, half2] if mask is None else [half1, half2, mask]
    problems: list[Problem] = []
    for path in dict.fromkeys(paths):
        _collected(check_own, path, problems)
    headers = {path: header for path in paths if (header := _collected(map_header, path, problems)) is not None}
    maps = {path: found for path in headers if (found := _collected(read_map, path, problems)) is not None}
    for path in dict.fromkeys((half1, half2)):
        if path in maps:
            problems += _unusable(path, maps[path].array, even)
    if half1 in headers and half2 in headers:
        first, second = headers[half1], headers[half2]
        if first.shape != second.shape:
            problems.append(Problem(f"differs in size from {half1}", _REMEDY, str(half2), value=str(second.shape)))
        elif independent and half1 in maps and half2 in maps and _one_map(maps[half1].array, maps[half2].array):
            problems.append(Problem(f"is the same map as {half1}", "give the other half", str(half2)))
        if pixel_size_angst is None:
            problems += _pixel_problems(half1, half2, first, second)
    if mask in headers and half1 in headers:
        problems += _unfit_mask(mask, headers[mask], headers[half1], pixel_size_angst is None)
    if mask in maps:
        problems += _unusable_mask(mask, maps[mask].array)
    if problems:
        raise BlushError("the half-maps cannot be used", problems)
    one, other = maps[half1], maps[half2]
    solvent = None if mask is None else torch.from_numpy(maps[mask].array)
    pixel = one.pixel_size_angst if pixel_size_angst is None else pixel_size_angst
    return MapFiles((torch.from_numpy(one.array), torch.from_numpy(other.array)), pixel, solvent, one.placement)


def _collected(read: Callable[[Path], _Read], path: Path, problems: list[Problem]) -> _Read | None:
    """What was read, or None with the reason added to the others."""
    try:
        return read(path)
    except BlushError as error:
        problems += problems_of(error)
        return None


def _unusable(path: Path, array: np.ndarray, even: bool) -> list[Problem]:
    """A half-map is a cube with density in it."""
    if len(set(array.shape)) != 1:
        return [Problem("map is not cubic", "pad it to a cube", str(path), value=str(array.shape))]
    if even and array.shape[0] % 2:
        remedy = f"crop it to {array.shape[0] - 1} voxels"
        return [Problem("box is odd", remedy, str(path), value=str(array.shape[0]))]
    low, high = float(array.min()), float(array.max())
    if low == high:
        what = "zero" if low == 0 else "the same"
        return [Problem(f"is {what} everywhere", "reconstruct the half again", str(path), value=f"{low:g}")]
    return []


def _one_map(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether one map is the other, up to a factor and a constant: two measurements never are."""
    one, other = (array.ravel() - array.mean(dtype=np.float64) for array in (first, second))
    power = float(one @ one) * float(other @ other)
    return power > 0 and 1 - float(one @ other) ** 2 / power < SAME_MAP


def _pixel_problems(half1: Path, half2: Path, first: Header, second: Header) -> list[Problem]:
    """Both headers say the same pixel size."""
    pixel, other = first.pixel_size_angst, second.pixel_size_angst
    if pixel > 0 and abs(pixel - other) <= SAME_PIXEL * pixel:
        return []
    remedy, value = "give the right one with --pixel-size", f"{pixel:g} Å and {other:g} Å"
    if min(pixel, other) <= 0:
        return [Problem("has no pixel size", remedy, str(half2 if pixel > 0 else half1), value=value)]
    return [Problem(f"has another pixel size than {half1}", remedy, str(half2), value=value)]


def _unfit_mask(path: Path, mask: Header, half: Header, check_pixel: bool) -> list[Problem]:
    """A mask has the box and the pixel size of the maps."""
    if mask.shape != half.shape:
        remedy = f"give a mask of {half.shape}"
        return [Problem("differs in size from the maps", remedy, str(path), value=str(mask.shape))]
    pixel, wanted = mask.pixel_size_angst, half.pixel_size_angst
    if not check_pixel or abs(pixel - wanted) <= SAME_PIXEL * wanted:
        return []
    remedy = f"resample it; or, where its header is wrong, write {wanted:g} into it or add --pixel-size {wanted:g}"
    value = f"{pixel:g} Å instead of {wanted:g} Å"
    return [Problem("has another pixel size than the maps", remedy, str(path), value=value)]


def _unusable_mask(path: Path, mask: np.ndarray) -> list[Problem]:
    """A mask lies in [0, 1], and lets something through."""
    low, high = float(mask.min()), float(mask.max())
    if low >= -SAME_PIXEL and 0.5 <= high <= 1 + SAME_PIXEL:
        return []
    remedy = "scale it to 0 in the solvent and 1 on the particle"
    return [Problem("a mask lies in [0, 1]", remedy, str(path), value=f"{low:g} to {high:g}")]
