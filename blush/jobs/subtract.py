"""Signal subtraction: images without what the map predicts outside a mask, as new stacks and a new table.

Image i becomes X_i - f_i a T_i P_i[(1 - M) V]: V the map (of its own half), M the mask, P_i the projection at the
particle's pose, displaced by minus its origin, T_i CTF, aberrations and detector, a the amplitude of the half, f_i the
group scale times norm correction over its average. So stored images keep their grey scale, and `rlnNormCorrection` its
truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.expectation.background import AmplitudeFit, Background, moved_and_cropped, recentred
from blush.fourier.transform import transform
from blush.io.mrc import stack_header, write_volume
from blush.io.particle_columns import BLOCK
from blush.io.particles import ParticleSet
from blush.io.stack_parts import stack_in_pieces
from blush.io.star import write_star
from blush.jobs.subtracted_table import COMMENT, subtracted_blocks, with_new_centre
from blush.jobs.subtraction_plan import (
    Part,
    Subtraction,
    block_size,
    claim,
    divided,
    doubts,
    new_centre,
    read_mask,
)
from blush.jobs.subtraction_source import TITLE, ImageSet, Source, open_source

__all__ = ["Subtraction", "subtract"]

FITTED_IMAGES = 2_000
"""Images of a half, evenly spread over it, that its amplitude is fitted to."""
_LEAST_SIGNIFICANCE = 3.0
REFERENCE = "reference.mrc"


def subtract(
    place: Path,
    wanted: Subtraction,
    tell: Callable[[str], None] = lambda text: None,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Path:
    """Subtract what lies outside the mask from every image; returns `particles_subtracted.star`.

    Stacks that an earlier call with the same inputs completed are kept, so a call that was stopped goes on.

    Parameters
    ----------
    place
        Folder of a finished run, particle STAR file with poses, or RELION's `_optimiser.star`.
    tell
        Takes sentences for the user: amplitudes, warnings.
    progress
        Takes what is being done, images done, and their number.

    Raises
    ------
    BlushError
        With every mistake in the input, before anything is written; where an image cannot be read, or the folder holds
        another subtraction.
    """
    source = open_source(place, wanted.maps, ignore_class=wanted.ignore_class)
    mask = read_mask(source, wanted)
    box_px = source.particles.optics[0].box_px
    new_box = box_px if wanted.box_px is None else wanted.box_px
    block = block_size(box_px, wanted.memory_gb)
    centre_px = new_centre(mask, wanted.recentre)
    parts = {images.label: list(divided(images, wanted.images_per_stack)) for images in source.sets}
    listed = [part for own in parts.values() for part in own]
    claim(source, wanted, listed, new_box)
    for warning in doubts(source, mask, centre_px, new_box):
        tell(f"warning: {warning}")
    work = _Work(source, mask, centre_px, new_box, wanted, block, tell, progress)
    for images in source.sets:
        work.run(images, parts[images.label])
    work.write_kept()
    return _write_table(source, work, listed)


@dataclass
class _Work:
    """Everything that is the same for all images."""

    source: Source
    mask: Tensor
    centre_px: Tensor | None
    box_px: int
    wanted: Subtraction
    block: int
    tell: Callable[[str], None]
    progress: Callable[[str, int, int], None]

    def __post_init__(self) -> None:
        self.kept = torch.zeros_like(self.mask)

    def run(self, images: ImageSet, parts: list[Part]) -> None:
        """Write those stacks of some images that are not there yet."""
        missing = [part for part in parts if not self._is_there(part)]
        if not missing and (self.wanted.output / REFERENCE).exists():
            return
        volume = self.source.volume(images.map)
        amplitude = self._amplitude(volume, images)
        volume *= amplitude
        self.kept += volume * self.mask * (len(images.rows) / len(self.source.particles))
        if not missing:
            return
        background = self._background(volume * (1 - self.mask))
        del volume
        total, done = sum(len(part.rows) for part in missing), 0
        for part in missing:
            path = self.wanted.output / part.name
            pixel_angst = self.source.particles.optics[0].pixel_size_angst
            with stack_in_pieces(path, len(part.rows), self.box_px, pixel_angst) as append:
                for rows in self._blocks(part.rows):
                    append(self._subtracted(background, rows))
                    done += len(rows)
                    self.progress(_stage(images, "subtract"), done, total)

    def _is_there(self, part: Part) -> bool:
        """Whether an earlier call completed this stack; a name is given to complete ones alone."""
        path = self.wanted.output / part.name
        wanted = (len(part.rows), self.box_px, self.box_px)
        return path.exists() and stack_header(path).shape == wanted

    def _background(self, volume: Tensor) -> Background:
        device = torch.device(self.wanted.device)
        return Background(transform(volume.to(device), len(volume) // 2), self.source.particles)

    def _blocks(self, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
        for begin in range(0, len(rows), self.block):
            yield rows[begin : begin + self.block]

    def _images(self, rows: NDArray[np.int64]) -> tuple[ParticleSet, Tensor, Tensor]:
        """Particles, their images and the factors of their predictions."""
        particles = self.source.particles.take(rows)
        images = torch.from_numpy(particles.images())
        if not bool(torch.isfinite(images).all()):
            bad = rows[~torch.isfinite(images).all((1, 2)).numpy()]
            where = f"{BLOCK} row {bad[0] + 1}"
            problem = Problem("image holds values that are not finite", "remove the row", str(self.source.star), where)
            raise BlushError(TITLE, [problem])
        return particles, images.to(self.wanted.device), torch.from_numpy(self.source.factor[rows])

    def _subtracted(self, background: Background, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        particles, images, factor = self._images(rows)
        images = images - background.images(particles, factor)
        whole_px = torch.zeros(len(rows), 2, dtype=torch.int64)
        if self.centre_px is not None:
            whole_px = recentred(particles, self.centre_px)[0]
        sign = torch.from_numpy(particles.image_sign).to(images)  # stored as they came: the table says it of both
        return moved_and_cropped(images * sign[:, None, None], whole_px, self.box_px).cpu().numpy()

    def _amplitude(self, volume: Tensor, wanted: ImageSet) -> float:
        """Least-squares amplitude of the whole map in some images; 1 where it is given.

        Raises
        ------
        BlushError
            Where the images do not show the map.
        """
        if (self.wanted.scale or ("given" if self.source.own else "fit")) == "given":
            return 1.0
        rows = wanted.rows
        chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), FITTED_IMAGES)).astype(np.int64)]
        background, fit = self._background(volume), AmplitudeFit()
        done = 0
        for block in self._blocks(chosen):
            particles, images, factor = self._images(block)
            fit.add(images, background.images(particles, factor))
            done += len(block)
            self.progress(_stage(wanted, "fit"), done, len(chosen))
        amplitude, error = fit.result()
        if not amplitude > _LEAST_SIGNIFICANCE * error:
            remedy = "check contrast, poses and pixel size; --scale given subtracts the map as it is"
            value = f"amplitude {amplitude:.3g} ± {error:.2g}"
            problem = Problem("the images do not show this map", remedy, str(wanted.map), value=value)
            raise BlushError(TITLE, [problem])
        self.tell(f"{_stage(wanted, 'amplitude')} {amplitude:.4f} ± {error:.4f} ({len(chosen)} images)")
        return amplitude

    def write_kept(self) -> None:
        """Write mask and masked map in the frame of the new images: those of what comes next."""
        if (self.wanted.output / REFERENCE).exists():
            return
        shift = (0, 0, 0) if self.centre_px is None else tuple(int(-x) for x in self.centre_px.flip(0))
        first = len(self.mask) // 2 - self.box_px // 2
        window = slice(first, first + self.box_px)
        for name, volume in (("mask.mrc", self.mask), (REFERENCE, self.kept)):
            kept = volume.roll(shift, (0, 1, 2))[window, window, window]
            write_volume(self.wanted.output / name, kept.numpy(), self.source.particles.optics[0].pixel_size_angst)


def _stage(images: ImageSet, what: str) -> str:
    """What is being done to which images."""
    return f"{images.label}: {what}" if images.label else what


def _write_table(source: Source, work: _Work, parts: list[Part]) -> Path:
    """The table, last of all: where it is, so are its stacks."""
    particles, output = source.particles, work.wanted.output
    star = output / "particles_subtracted.star"
    folder = output.absolute()
    folder = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    names = [""] * len(particles)
    for part in parts:
        stack = (folder / part.name).as_posix()
        for number, row in enumerate(part.rows.tolist(), start=1):
            names[row] = f"{number:06d}@{stack}"
    blocks = subtracted_blocks(source.blocks, particles, names, star, work.box_px)
    if work.centre_px is not None:
        whole_px, left = recentred(particles, work.centre_px)
        before = np.stack([particles.offset_x_angst, particles.offset_y_angst], axis=1)
        blocks = with_new_centre(blocks, source.star, (before, left.numpy()), whole_px.numpy(), work.centre_px.numpy())
    write_star(star, blocks, comment=COMMENT)
    return star
