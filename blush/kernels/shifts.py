"""Translations as vectors, and the phases that backends make of them: whole, or as two one-dimensional tables.

exp(-2 pi i (kx x + ky y) / N) is the product of a number that depends on kx and one that depends on ky, so that N + 1
and N / 2 + 1 numbers of a vector tell its phase at every pixel, however many images have vectors of their own.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True)
class Shifts:
    """Vectors that images are moved by, at the pixels of a packed half plane.

    Attributes
    ----------
    px
        (t, 4, 2) x and y in pixels: the four children of every coarse shift.
    kx, ky
        (n,) int64 frequencies of the pixels, in cycles per box.
    box_px
        N of the images.
    """

    px: Tensor
    kx: Tensor
    ky: Tensor
    box_px: int


def phase_ramps(px: Tensor, kx: Tensor, ky: Tensor, box_px: int, dtype: torch.dtype) -> Tensor:
    """exp(-2 pi i (kx x + ky y) / N) of vectors (..., 2), planar (..., 2, n); computed in float64."""
    k = torch.stack((kx, ky)).double()
    angle = (-2 * math.pi / box_px) * (px.double().to(k.device) @ k)
    return torch.stack((angle.cos(), angle.sin()), dim=-2).to(dtype)


def ramps_made_once(px: Tensor, kx: Tensor, ky: Tensor, box_px: int, dtype: torch.dtype) -> Tensor:
    """(t, 4, 2, n) phases of vectors at every pixel, kept for as long as the tensor of the vectors lives."""
    key = (px._version, kx.data_ptr(), ky.data_ptr(), len(kx), box_px, dtype)
    made = _kept(px)
    if key not in made:
        made[key] = (phase_ramps(px, kx, ky, box_px, dtype),)
    return made[key][0]


def tables_made_once(px: Tensor, box_px: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Tables of vectors as `phase_tables` makes them, kept for as long as the tensor of the vectors lives."""
    key, made = (px._version, box_px, dtype), _kept(px)
    if key not in made:
        made[key] = phase_tables(px, box_px, dtype)
    along_x, along_y = made[key]
    return along_x, along_y


def _kept(px: Tensor) -> dict[tuple[Hashable, ...], tuple[Tensor, ...]]:
    """What was made of some vectors."""
    if px not in _MADE:
        _MADE[px] = {}
    made: dict[tuple[Hashable, ...], tuple[Tensor, ...]] = _MADE[px]
    return made


_MADE: WeakIdKeyDictionary = WeakIdKeyDictionary()


def phase_tables(px: Tensor, box_px: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The same as two tables: (..., N/2 + 1, 2) by kx from 0, and (..., N + 1, 2) by ky from -N/2; cosine, sine.

    For odd N the frequencies go to (N - 1) / 2.
    """
    half = box_px // 2
    k = torch.arange(-half, half + 1, device=px.device, dtype=torch.float64)
    angle = (-2 * math.pi / box_px) * px.double()[..., None] * k
    table = torch.stack((angle.cos(), angle.sin()), dim=-1).to(dtype)
    return table[..., 0, half:, :].contiguous(), table[..., 1, :, :].contiguous()
