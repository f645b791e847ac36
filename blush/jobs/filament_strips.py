"""Filaments laid out straight: what the segments of each show, put side by side along its track.

A segment alone shows a short part of the filament, and a class average is the mean of many such parts. Along its track
a filament shows them all in their order, so that its strip is an average that needs no classification: long, of one
polarity, and noisy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import image_of, packed_transform
from blush.fourier.filter import raised_cosine
from blush.fourier.packed import Packed, packed
from blush.fourier.shift import multiply
from blush.io.particles import ParticleSet

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
WIENER = 0.1
"""Noise over signal that contrast transfer is undone with: strips of other defocus have to look alike."""
AT_ONCE = 256
"""Segments that are read at once."""


@dataclass(frozen=True)
class Strips:
    """Straight filaments on one grid.

    Attributes
    ----------
    columns
        (k, x, y) along the filament, in the direction of its track, and across; 0 where there is nothing.
    seen
        (k, x) 1 where a segment shows the filament.
    """

    columns: Tensor
    seen: Tensor


def straight_filaments(
    particles: ParticleSet, most: int, step_angst: float, rows: int, resolution_angst: float, central: float
) -> Strips:
    """Strips of the longest filaments of a table.

    Parameters
    ----------
    particles
        Segments with their tracks and directions.
    most
        Filaments that are used.
    step_angst
        Pixel of the strips.
    rows
        Pixels across, even.
    resolution_angst
        Finest detail that is kept.
    central
        Part of a box along the filament that is used.

    Raises
    ------
    ValueError
        If the particles are no segments of filaments.

    Notes
    -----
    Memory: k x (longest filament + box) x rows floats, and `AT_ONCE` images.
    """
    if particles.filament is None or particles.track_angst is None or particles.track_psi_deg is None:
        raise ValueError("these particles are no segments of filaments")
    filament, track = _longest(particles.filament.astype(np.int64), particles.track_angst, most)
    chosen = np.flatnonzero(filament >= 0)
    pixel = particles.optics[int(particles.optics_index[chosen[0]])].pixel_size_angst
    box = particles.optics[int(particles.optics_index[chosen[0]])].box_px
    half = math.floor(central * box * pixel / step_angst / 2)
    base = np.round(track / step_angst).astype(np.int64) + half
    length = 2 * math.ceil((int(base[chosen].max()) + half + 1) / 2)
    sums = torch.zeros(int(filament.max()) + 1, length, rows)
    count = torch.zeros(int(filament.max()) + 1, length)
    reach = torch.arange(-half, half + 1)
    pixels = packed(box)
    tables = OpticsTables(particles, pixels, torch.float32)
    for begin in range(0, len(chosen), AT_ONCE):
        part = chosen[begin : begin + AT_ONCE]
        images = _restored(particles.take(part), tables, pixels, resolution_angst / pixel)
        centre = torch.from_numpy(base[part])
        along = (centre - half) * step_angst - torch.from_numpy(track[part])
        place = (reach * step_angst + along[:, None], (torch.arange(rows) - rows // 2) * step_angst)
        patch = _patches(images, torch.from_numpy(particles.track_psi_deg[part]), place[0] / pixel, place[1] / pixel)
        row = torch.from_numpy(filament[part])[:, None].expand(-1, len(reach))
        column = centre[:, None] + reach
        sums.index_put_((row, column), patch, accumulate=True)
        count.index_put_((row, column), torch.ones(row.shape), accumulate=True)
    return Strips(sums / count.clamp_min(1)[..., None], (count > 0).float())


def _longest(filament: Ints, track_angst: Floats, most: int) -> tuple[Ints, Floats]:
    """(n,) number of each segment's filament among the longest, -1 for others, and its distance from its first."""
    first, last = np.full(filament.max() + 1, np.inf), np.full(filament.max() + 1, -np.inf)
    np.minimum.at(first, filament, track_angst)
    np.maximum.at(last, filament, track_angst)
    order = np.argsort(first - last, kind="stable")[:most]
    number = np.full(len(first), -1, dtype=np.int64)
    number[order] = np.arange(len(order))
    return number[filament], track_angst - first[filament]


def _restored(particles: ParticleSet, tables: OpticsTables, pixels: Packed, finest_px: float) -> Tensor:
    """(b, N, N) images with contrast transfer undone as a Wiener filter does, without detail finer than this."""
    images = torch.from_numpy(particles.images())
    spectrum = torch.view_as_real(packed_transform(images, pixels)).movedim(-1, 1)
    group = torch.from_numpy(particles.optics_index).long()
    if tables.correction is not None:
        spectrum = multiply(spectrum, tables.correction[group])
    ctf = tables.ctf(particles, len(pixels.kx))
    power = ctf.square()
    # images that are multiplied by their CTF already need the denominator alone
    ctf = torch.where(tables.premultiplied[group, None], torch.ones_like(ctf), ctf)
    passed = raised_cosine(pixels.shell.float(), pixels.box_px / finest_px, 4).float()
    passed[pixels.shell == 0] = 0  # the level of the background
    return image_of(spectrum * (ctf / (power + WIENER) * passed)[:, None], pixels)


def _patches(images: Tensor, psi_deg: Tensor, along_px: Tensor, across_px: Tensor) -> Tensor:
    """(b, x, y) images read along a direction -psi from x towards y, at these distances from the centre."""
    n = images.shape[-1]
    angle = torch.deg2rad(psi_deg)[:, None, None]
    u, v = along_px[:, :, None], across_px[None, None, :]
    place = torch.stack((u * angle.cos() + v * angle.sin(), v * angle.cos() - u * angle.sin()), -1) + n // 2
    grid = ((2 * place + 1) / n - 1).to(images.dtype)
    return torch.nn.functional.grid_sample(images[:, None], grid, "bicubic", align_corners=False)[:, 0]
