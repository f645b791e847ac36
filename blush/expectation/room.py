"""How many images make a block: what memory allows, and half as many where a device's memory ends after all."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from blush.errors import BlushError, Problem
from blush.expectation.device_memory import DeviceSize
from blush.expectation.kept_poses import IMAGES_TOGETHER
from blush.expectation.known_poses import PosePriors
from blush.expectation.memory import StepSize
from blush.expectation.model import Model
from blush.kernels.device import free_bytes, give_back


@dataclass
class ImageLimit:
    """Bytes of a block's images that a process has found to be the most there is room for."""

    bytes: float = math.inf


@dataclass
class Room:
    """Blocks of images on one device.

    Attributes
    ----------
    images
        How many make a block. On a GPU a power of two, so that blocks of any size begin where smaller ones do.
    together
        Images whose second pass is one wherever blocks begin; 0: a block's.
    spare_bytes
        What a block leaves over.
    told
        Called once with a line for the log and figures, each time that blocks become smaller.
    """

    size: StepSize
    device: torch.device
    images: int
    together: int
    spare_bytes: float
    limit: ImageLimit
    told: Callable[[str], None] = field(default=lambda text: None)

    @classmethod
    def of(cls, size: StepSize, device: torch.device, memory_bytes: float, limit: ImageLimit) -> Room:
        """Blocks that take no more than `memory_bytes`."""
        together = IMAGES_TOGETHER.get(device.type, 0)
        if not together:
            images = size.block_size(memory_bytes)
            return cls(size, device, images, 0, memory_bytes - size.peak(images).total, limit)
        on_device = DeviceSize(size)
        images = on_device.block_size(memory_bytes)
        while images > 1 and images * on_device.image_bytes > limit.bytes:
            images //= 2
        return cls(size, device, images, together, memory_bytes - on_device.peak(images).total, limit)

    def rows(self, done: int, count: int) -> np.ndarray:
        """Rows of the block after the first `done` of `count` images."""
        end = min(done + self.images, count)
        if self.together and done % self.together:  # those that belong together were taken in parts
            end = min(end, done - done % self.together + self.together)
        return np.arange(done, end)

    def halve(self, images: int, reason: str) -> None:
        """Make blocks smaller after one of `images` did not fit, for which torch gave `reason`.

        Raises
        ------
        BlushError
            If there was but one.
        """
        give_back()
        free = free_bytes(self.device, 0.0)
        state = f"{free / 1e9:.1f} GB of {self.device} are free without it, and torch says: {reason.splitlines()[0]}"
        if images == 1:
            raise BlushError(
                "the device has too little memory",
                [
                    Problem(
                        f"one image of {self.size.box_px} px does not fit; {state}",
                        "end what else uses the GPU, take one with more memory, limit the resolution, or refine "
                        "smaller images",
                        where="compute.device",
                        value=str(self.device),
                    )
                ],
            )
        before = images
        while self.images >= images:
            self.images //= 2
        on_device = DeviceSize(self.size)
        self.limit.bytes = self.images * on_device.image_bytes
        text = (
            f"{before} images at once, {on_device.peak(before).total / 1e9:.1f} GB by docs/gpu.md, did not fit; "
            f"{self.images} from here on; {state}"
        )
        sys.stderr.write(f"blush: {text}\n")
        self.told(text)


def size_of(model: Model, priors: PosePriors | None, lists: int, others: int, dtype: torch.dtype) -> StepSize:
    """Size of a step with a model, whose images have `lists` of orientations and shifts of their own, or 0."""
    references = len(model.component.references)
    return StepSize(
        model.box_px,
        model.radius,
        model.coarse_radius,
        model.component.n_rows if priors is None else priors.orientations * references,
        len(model.offsets_angst),
        dtype.itemsize,
        local=priors is not None and not priors.shared_rows,
        references=references,
        fixed=model.fixed_poses,
        others=others,
        lists=lists,
        shared_rows=0 if priors is None else priors.shared_rows,
        rows=model.component.n_rows,
    )
