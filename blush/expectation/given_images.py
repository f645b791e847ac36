"""Images at the poses that they have: transformed a few at once, and kept between iterations where there is room.

At given poses neither an image's transform nor its CTF ever changes, but for the contrast that is found for it, which
is a factor. Both are made alike whether they are kept or not: together with the same images, to the same shell.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from blush.expectation.image_masks import ImageMasks
from blush.expectation.memory import FIXED_CHUNK
from blush.expectation.model import Model
from blush.expectation.optics import OpticsTables
from blush.expectation.prepare import Images, prepare
from blush.fourier.packed import Packed
from blush.fourier.shift import multiply, phases, round_half_away
from blush.io.particles import ParticleSet
from blush.io.upload import uploaded

SHELLS_AT_ONCE = 32
"""Transforms reach to a multiple of so many shells, so that they serve while the radius grows."""


@dataclass(frozen=True)
class Transforms:
    """Some images as they came, their offsets undone exactly, and their CTFs.

    Attributes
    ----------
    masked, unmasked, power
        As in `Images`, without the factor of an image's contrast.
    ctf
        (b, n).
    """

    masked: Tensor
    unmasked: Tensor
    power: Tensor
    ctf: Tensor

    def rows(self, begin: int, end: int) -> Transforms:
        """Some of the images."""
        return Transforms(*(getattr(self, one.name)[begin:end] for one in fields(self)))

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(getattr(self, one.name).nbytes for one in fields(self))


class Kept:
    """Transforms of several shards of images of one run in the memory of this process, by the names of their shards."""

    def __init__(self) -> None:
        self._run: Hashable = None
        self._held: dict[Hashable, Transforms] = {}

    def find(self, run: Hashable, name: Hashable, n_pixels: int) -> Transforms | None:
        """What is kept of a shard to `n_pixels`; other transforms of it, and those of other runs, are let go."""
        if run != self._run:
            self._run, self._held = run, {}
        found = self._held.get(name)
        if found is not None and found.ctf.shape[1] != n_pixels:
            del self._held[name]
            return None
        return found

    def put(self, name: Hashable, made: Transforms) -> None:
        """Keep the transforms of a shard of the run that was asked for last."""
        self._held[name] = made

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(made.nbytes for made in self._held.values())


@dataclass(frozen=True)
class Place:
    """A shard of images whose transforms may be kept.

    Attributes
    ----------
    run, name
        What the transforms depend on: what is common to all shards, and the shard.
    room_bytes
        That all transforms kept there may take.
    """

    kept: Kept
    run: Hashable
    name: Hashable
    room_bytes: float


class GivenImages:
    """Transforms of images to a multiple of `SHELLS_AT_ONCE` shells."""

    def __init__(self, model: Model, pixels: Packed, tables: OpticsTables, masks: ImageMasks, block_size: int) -> None:
        shells = min(model.box_px // 2, -(-model.radius // SHELLS_AT_ONCE) * SHELLS_AT_ONCE)
        self.model, self.pixels, self.tables, self.masks = model, pixels, tables, masks
        self.n_pixels, self.chunk = pixels.inside(shells), min(FIXED_CHUNK, block_size)

    def transforms(self, particles: ParticleSet, begin: int, end: int, place: Place | None) -> Transforms:
        """Rows `begin` to `end` of a shard; `begin` is a multiple of the chunk."""
        found = None if place is None else place.kept.find(place.run, place.name, self.n_pixels)
        if found is None and place is not None:
            needed = self._bytes_per_image() * len(particles)
            if place.kept.nbytes + needed <= place.room_bytes:
                found = self._made(particles)
                place.kept.put(place.name, found)
        if found is not None:
            return found.rows(begin, end)
        return self._made(particles.take(np.arange(begin, end)))

    def _bytes_per_image(self) -> int:
        return 5 * self.n_pixels * self.masks.circle.dtype.itemsize + 8 * (self.model.box_px // 2 + 1)

    def _made(self, particles: ParticleSet) -> Transforms:
        n, count, like = self.n_pixels, len(particles), self.masks.circle
        power = torch.empty(count, self.model.box_px // 2 + 1, dtype=torch.float64, device=like.device)
        made = Transforms(like.new_empty(count, 2, n), like.new_empty(count, 2, n), power, like.new_empty(count, n))
        for begin in range(0, count, self.chunk):
            some = particles.take(np.arange(begin, min(begin + self.chunk, count)))
            part, into = self._chunk(some), made.rows(begin, begin + len(some))
            for one in fields(Transforms):
                getattr(into, one.name).copy_(getattr(part, one.name))
        return made

    def _chunk(self, particles: ParticleSet) -> Transforms:
        device = self.masks.circle.device
        old_px = offsets_px(particles, self.model, device)
        shift_px = round_half_away(old_px)
        optics = uploaded(particles.optics_index, device).long()
        correction = None if self.tables.correction is None else self.tables.correction[optics]
        images = uploaded(particles.images(), device, self.masks.circle.dtype)
        ones = torch.ones(len(images), dtype=torch.float64, device=images.device)
        mask = self.masks.of(particles)
        found: Images = prepare(images, ones, shift_px, mask, self.pixels, self.n_pixels, correction)
        ramps = phases(old_px - shift_px, self.pixels, self.n_pixels, images.dtype)
        masked, unmasked = (multiply(one[..., : self.n_pixels], ramps) for one in (found.masked, found.unmasked))
        return Transforms(masked, unmasked, found.power, self.tables.ctf(particles, self.n_pixels))


def offsets_px(particles: ParticleSet, model: Model, device: torch.device) -> Tensor:
    """(b, 2) offsets that images came with, in pixels: float64."""
    columns = (particles.offset_x_angst, particles.offset_y_angst)
    return torch.stack([uploaded(one, device) for one in columns], 1) / model.pixel_size_angst
