"""Offsets that images are searched over: one grid for all of them, or a grid in each filament segment's frame.

Both tell the same: ramps of the coarse shifts, and, once it is known which of these matter, those of their children.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from blush.expectation.block import Block
from blush.expectation.kept_poses import Poses
from blush.expectation.memory import RAMP_BYTES
from blush.expectation.model import Model
from blush.expectation.order import compact
from blush.expectation.sparse import Pairs
from blush.fourier.packed import Packed
from blush.fourier.shift import multiply, phases
from blush.geometry.helix import from_frame, in_frame
from blush.geometry.sampling import fine_offsets
from blush.io.particles import POSE, ParticleSet
from blush.io.upload import uploaded
from blush.kernels.score import CHILD_SHIFTS
from blush.kernels.shifts import Shifts

POLARITIES = 2
"""Lists of poses of a segment: those along the track, and those that are turned round."""


@dataclass(frozen=True)
class FineShifts:
    """Children of the coarse shifts that images are compared at.

    Attributes
    ----------
    vectors
        x and y, beside the whole pixels that an image was moved by.
    image
        (t,) whose they are, ascending; None: everyone's.
    own
        (t,) which of its shifts, where they are one image's.
    """

    vectors: Shifts
    image: Tensor | None = None
    own: Tensor | None = None

    @property
    def px(self) -> Tensor:
        """(t, 4, 2) pixels."""
        return self.vectors.px

    def best_px(self, shift: Tensor) -> Tensor:
        """(..., 2) pixels of fine shifts 4 t + child."""
        return self.px.flatten(0, 1)[shift]

    def places(self, pairs: Pairs, whole_px: Tensor) -> tuple[Tensor, Tensor]:
        """Place of pairs in a table of the coarse shifts of all images, (p,), and the fine offsets of it, (..., 2)."""
        fine = self.px.flatten(0, 1).double()
        if self.image is None:
            return pairs.image * len(self.px) + pairs.shift, whole_px[:, None] + fine
        return pairs.shift, whole_px[self.image].repeat_interleave(CHILD_SHIFTS, 0) + fine


def _at_pixels(px: Tensor, pixels: Packed, n: int) -> Shifts:
    return Shifts(px, pixels.kx[:n], pixels.ky[:n], pixels.box_px)


class SharedOffsets:
    """One grid of offsets about the whole pixels that each image was moved by."""

    def __init__(self, model: Model, pixels: Packed, dtype: torch.dtype, device: torch.device) -> None:
        step_px = model.offset_step_angst / model.pixel_size_angst
        self.coarse_px = uploaded(model.offsets_angst, device) / model.pixel_size_angst
        fine = fine_offsets(self.coarse_px, step_px)
        self.ramps = phases(self.coarse_px, pixels, pixels.inside(model.coarse_radius), dtype)
        self.shared = FineShifts(_at_pixels(fine, pixels, pixels.inside(model.radius)))
        self.at_once: int | None = None

    @property
    def of_one_image(self) -> int:
        """Coarse shifts that an image is searched over."""
        return len(self.coarse_px)

    def coarse(self, block: Block) -> Tensor:
        """(t, 2, n) ramps of the coarse shifts."""
        del block  # they are the same for all
        return self.ramps

    def fine(self, block: Block, poses: Poses) -> tuple[FineShifts, Poses]:
        """Children of the shifts of poses, and the poses by them."""
        del block
        return self.shared, poses


@dataclass(frozen=True)
class Frames:
    """Where the grids of a block of segments lie.

    Attributes
    ----------
    psi_deg
        (b,) of polarity 0.
    centre_angst
        (b, 2, 2) along and across, of the whole offset, of the grid of each polarity; NaN where none is searched.
    whole_px
        (b, 2) that images were moved by.
    """

    psi_deg: Tensor
    centre_angst: Tensor
    whole_px: Tensor

    @classmethod
    def of(cls, model: Model, block: Block, device: torch.device) -> Frames:
        """About no offset along the filament and the previous one across it, or in local searches about known poses.

        Raises
        ------
        ValueError
            Where segments came without what is known of them.
        """
        particles = block.particles
        known, _, poses = known_of_filaments(particles)
        psi_deg = uploaded(known[:, 0], device)
        whole = block.shift_px
        if model.local_sigma_deg is not None:
            offsets = uploaded(poses[:, :, len(POSE) - 2 :], device)
            return cls(psi_deg, in_frame(offsets, psi_deg[:, None]), whole)
        across = in_frame(block.old_px * model.pixel_size_angst, psi_deg)[:, 1]
        centre = torch.stack((torch.zeros_like(across), across), -1)
        return cls(psi_deg, centre[:, None].expand(-1, POLARITIES, -1), whole)

    def taken(self, chosen: slice) -> Frames:
        """Of some of the segments."""
        return Frames(self.psi_deg[chosen], self.centre_angst[chosen], self.whole_px[chosen])


def known_of_filaments(particles: ParticleSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expected psi, tilt and offset across, log priors of polarity and reduced rot, and best poses, of segments.

    Raises
    ------
    ValueError
        Where segments came without them.
    """
    known = (particles.filament_prior, particles.rot_log_prior, particles.polarity_pose)
    if known[0] is None or known[1] is None or known[2] is None:
        raise ValueError("segments of filaments need filament_prior, rot_log_prior and polarity_pose")
    return known[0], known[1], known[2]


class FrameOffsets:
    """A grid of offsets for each polarity in the frame of every segment: 2 t shifts, those of polarity 0 first.

    Attributes
    ----------
    at_once
        Shifts of all images whose fine ramps are held together.
    """

    def __init__(self, model: Model, pixels: Packed, dtype: torch.dtype, device: torch.device) -> None:
        if model.filament is None:
            raise ValueError("offsets in the frames of segments need what is known of filaments")
        self.model, self.pixels, self.dtype, self.device = model, pixels, dtype, device
        self.grid = uploaded(model.offsets_angst, device, torch.float64)
        self.fine_grid = fine_offsets(self.grid, (model.filament.along_step_angst, model.offset_step_angst))
        n_pixels = pixels.inside(model.radius)
        self.at_once: int | None = max(1, RAMP_BYTES // (2 * CHILD_SHIFTS * n_pixels * dtype.itemsize))

    @property
    def of_one_image(self) -> int:
        """Coarse shifts that an image is searched over."""
        return POLARITIES * len(self.grid)

    def coarse(self, block: Block) -> Tensor:
        """(b, 2 t, 2, n) ramps of the coarse shifts; (b, t, 2, n) where those of both polarities are the same."""
        frames = Frames.of(self.model, block, self.device)
        if self.model.local_sigma_deg is None:
            frames = replace(frames, centre_angst=frames.centre_angst[:, :1])
        n, count = self.pixels.inside(self.model.coarse_radius), len(frames.psi_deg)
        lines = [torch.unique(self.grid[:, axis]) for axis in (0, 1)]
        if len(lines[0]) * len(lines[1]) != len(self.grid):
            raise ValueError("offsets in the frames of segments are no grid along and across")
        along, across = (self._ramps(frames, axis, line, n) for axis, line in enumerate(lines))
        both = multiply(along[:, :, :, None], across[:, :, None])
        return both.view(count, -1, 2, n)

    def _ramps(self, frames: Frames, axis: int, line: Tensor, n: int) -> Tensor:
        """(b, 1 or 2, l, 2, n) ramps along one axis of the frame; those across hold what is no whole pixel."""
        place = torch.zeros(len(line), 2, dtype=torch.float64, device=self.device)
        place[:, axis] = line
        centre = torch.zeros_like(frames.centre_angst)
        centre[..., axis] = frames.centre_angst[..., axis].nan_to_num()
        offsets_px = from_frame(centre[:, :, None] + place, frames.psi_deg[:, None, None]) / self.model.pixel_size_angst
        if axis == 1:
            offsets_px = offsets_px - frames.whole_px[:, None, None]
        return phases(offsets_px, self.pixels, n, self.dtype)

    def fine(self, block: Block, poses: Poses) -> tuple[FineShifts, Poses]:
        """Children of the shifts of poses alone, and the poses by them."""
        t = self.of_one_image
        used, shift = compact(poses.image * t + poses.shift, len(poses.count) * t)
        image, own = torch.div(used, t, rounding_mode="floor"), used % t
        frames = Frames.of(self.model, block, self.device)
        total = from_frame(self.in_frame_angst(frames, image, own), frames.psi_deg[image][:, None])
        offsets_px = total / self.model.pixel_size_angst - frames.whole_px[image][:, None]
        vectors = _at_pixels(offsets_px, self.pixels, self.pixels.inside(self.model.radius))
        return FineShifts(vectors, image, own), replace(poses, shift=shift)

    def in_frame_angst(self, frames: Frames, image: Tensor, own: Tensor) -> Tensor:
        """(u, 4, 2) along and across, of the whole offset, of the children of shifts `own` of images."""
        polarity, place = torch.div(own, len(self.grid), rounding_mode="floor"), own % len(self.grid)
        return frames.centre_angst[image, polarity][:, None] + self.fine_grid[place]
